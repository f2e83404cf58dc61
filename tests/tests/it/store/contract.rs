//! The conformance suite on every backend with clients like those of several processes, with and without group commit.

use kirin_tests::conformance;

use super::{Clients, On, config};

macro_rules! suite {
    ($backend:ident, $on:expr, $batch:expr; $($case:ident)*) => {
        mod $backend {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let mut config = config($on);
                    config.batch = $batch;
                    config.connections = 6;
                    conformance::$case(Clients::of(&config, 3).await).await;
                }
            )*
        }
    };
}

macro_rules! on_all {
    ($($case:ident)*) => {
        suite!(sqlite, On::Sqlite, true; $($case)*);
        suite!(sqlite_unbatched, On::Sqlite, false; $($case)*);
        suite!(postgres, On::Postgres, true; $($case)*);
        suite!(postgres_unbatched, On::Postgres, false; $($case)*);
        suite!(mariadb, On::MariaDb, true; $($case)*);
        suite!(mariadb_unbatched, On::MariaDb, false; $($case)*);
    };
}

kirin_tests::conformance_cases!(on_all);
