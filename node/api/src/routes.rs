//! The table of all endpoints. The router is built from it. The contract suite compares its cases with it, so that every
//! endpoint has a case.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{self, MethodRouter};

use super::{Context, cluster, jobs, login, models, projects, queries, segments, tables};

/// The prefix of every path that requires a login.
pub(super) const BASE: &str = "/kylin/api";

/// An endpoint: a method, a path and a handler.
pub(super) struct Route {
    method: &'static str,
    /// Relative to [`BASE`] if a login is required, else absolute. Parameters are in braces.
    path: &'static str,
    needs_login: bool,
    handler: MethodRouter<Context>,
}

/// All endpoints.
fn table() -> Vec<Route> {
    vec![
        open("/health", cluster::health),
        open("/kylin/api/health", cluster::health),
        open("/health/live", cluster::alive),
        get("/user/authentication", login::authentication),
        post("/user/authentication", login::authentication),
        get("/projects", projects::list),
        post("/projects", projects::create),
        delete("/projects/{project}", projects::drop),
        put("/projects/{project}/project_config", projects::configure),
        get("/tables", tables::list),
        post("/tables", tables::add),
        delete("/tables/{table}", tables::drop),
        get("/models", models::list),
        post("/models", models::add),
        get("/models/{model}", models::show),
        delete("/models/{model}", models::drop),
        get("/models/{model}/segments", segments::list),
        post("/models/{model}/segments", segments::build),
        put("/models/{model}/segments", segments::refresh),
        delete("/models/{model}/segments", segments::drop),
        post("/models/{model}/segments/verification", segments::verify),
        get("/jobs", jobs::list),
        post("/jobs", jobs::submit),
        put("/jobs/status", jobs::act),
        get("/jobs/{job}", jobs::show),
        get("/jobs/{job}/detail", jobs::detail),
        get("/jobs/{job}/why", jobs::why),
        get("/jobs/{job}/steps/{step}/log", jobs::log),
        get("/jobs/{job}/steps/{step}/output", jobs::output),
        post("/query", queries::answer),
        post("/query/explain", queries::explain),
        get("/query/tables_and_columns", queries::tables_and_columns),
        get("/tables_and_columns", queries::tables_and_columns),
        post("/epoch", cluster::claim),
        get("/system/servers", cluster::servers),
        get("/system/host", cluster::host),
        post("/system/stop", cluster::stop),
        get("/cluster", cluster::cluster),
        get("/cluster/history", cluster::history),
        post("/cluster/nodes/{node}/drain", cluster::drain),
        delete("/cluster/nodes/{node}/drain", cluster::undrain),
        put("/cluster/nodes/{node}/slots", cluster::slots),
    ]
}

/// Method and absolute path of every endpoint.
pub fn endpoints() -> Vec<(&'static str, String)> {
    let whole = |route: &Route| if route.needs_login { format!("{BASE}{}", route.path) } else { route.path.to_owned() };
    table().iter().map(|route| (route.method, whole(route))).collect()
}

/// Two routers from the table: the public endpoints, and those that require a login, to be nested at [`BASE`].
pub(super) fn routers() -> (Router<Context>, Router<Context>) {
    let (mut for_all, mut with_login) = (Router::new(), Router::new());
    for Route { path, needs_login, handler, .. } in table() {
        let router = if needs_login { &mut with_login } else { &mut for_all };
        *router = std::mem::take(router).route(path, handler);
    }
    (for_all, with_login)
}

fn open<H: Handler<T, Context>, T: 'static>(path: &'static str, handler: H) -> Route {
    Route { needs_login: false, ..get(path, handler) }
}

fn get<H: Handler<T, Context>, T: 'static>(path: &'static str, handler: H) -> Route {
    Route { method: "GET", path, needs_login: true, handler: routing::get(handler) }
}

fn post<H: Handler<T, Context>, T: 'static>(path: &'static str, handler: H) -> Route {
    Route { method: "POST", path, needs_login: true, handler: routing::post(handler) }
}

fn put<H: Handler<T, Context>, T: 'static>(path: &'static str, handler: H) -> Route {
    Route { method: "PUT", path, needs_login: true, handler: routing::put(handler) }
}

fn delete<H: Handler<T, Context>, T: 'static>(path: &'static str, handler: H) -> Route {
    Route { method: "DELETE", path, needs_login: true, handler: routing::delete(handler) }
}
