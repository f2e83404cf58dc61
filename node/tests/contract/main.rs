//! The contract suite: every endpoint and every command against a real node, compared with golden files.
//!
//! | module | what it does |
//! |---|---|
//! | [`suite`] | the node, the recorded cases, the comparison |
//! | [`normal`] | replaces what differs from run to run: ids, times, sizes, addresses |
//! | [`http`], [`cli`] | the cases |
//!
//! `golden/http/` has one file per endpoint, `golden/cli/` one per command. A route of the router's own table or a command of
//! clap's tree without a case that succeeds fails the suite. `KIRIN_BLESS=1 cargo test -p kirin --test contract` rewrites the
//! files; read the difference before it is committed.
//!
//! The node runs in this process, the commands as the program `kirin`. There is no test harness: the node starts its worker
//! processes as this same program.

use std::process::ExitCode;

mod cli;
mod http;
mod normal;
mod suite;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == "worker") {
        return kirin::program::run();
    }
    if words.iter().any(|word| word == "--list") {
        println!("contract: test");
        return ExitCode::SUCCESS;
    }
    let filters = filters(&words);
    if !filters.is_empty() && !filters.iter().any(|filter| "contract".contains(filter)) {
        println!("contract: filtered out by {}", filters.join(" "));
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(done) => {
            println!("contract: {done}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("contract: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The filter names among the arguments of `cargo test`, without options of the harness and their values.
fn filters(words: &[String]) -> Vec<&str> {
    let takes_a_value =
        |word: &str| matches!(word, "--skip" | "--test-threads" | "--format" | "--color" | "--logfile" | "-Z");
    let mut words = words.iter().map(String::as_str);
    let mut filters = Vec::new();
    while let Some(word) = words.next() {
        if takes_a_value(word) {
            words.next();
        } else if !word.starts_with('-') {
            filters.push(word);
        }
    }
    filters
}

fn run() -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut suite = suite::Suite::start().await?;
        Box::pin(cli::commands_beside_a_node(&mut suite)).await?;
        Box::pin(http::endpoints(&mut suite)).await?;
        Box::pin(cli::commands(&mut suite)).await?;
        Box::pin(http::the_end(&mut suite)).await?;
        suite.finish()
    })
}
