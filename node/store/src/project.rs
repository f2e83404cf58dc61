//! Projects.

use kirin_core::Target;
use kirin_core::ask::ProjectId;

use crate::beat::target_name;
use crate::clock::wall_ms;
use crate::connection::{Connection, Work};
use crate::error::{Fault, StoreError};
use crate::sql::{Sql, Statement};
use crate::store::Store;
use crate::wire::{Row, args};

/// A project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Its name.
    pub name: String,
    /// The maximum number of its jobs that run at once.
    pub limit: u32,
    /// Whether the limit is its own. Others follow [`Store::project_default_limit`].
    pub own_limit: bool,
    /// A description for users.
    pub description: String,
    /// Its settings, as JSON.
    pub settings: String,
    /// When it was created.
    pub created_ms: i64,
}

impl Store {
    /// Creates a project with a limit of its own. `None` if the name exists.
    ///
    /// # Errors
    /// If the metastore cannot be written, or the name is too long.
    pub async fn project_add(
        &self,
        name: &str,
        limit: u32,
        description: &str,
        settings: &str,
    ) -> Result<Option<ProjectId>, StoreError> {
        self.add(Add { name, limit, own: true, description, settings }).await
    }

    /// Creates a project that follows the default limit, which is `limit` now. `None` if the name exists.
    ///
    /// # Errors
    /// If the metastore cannot be written, or the name is too long.
    pub async fn project_add_by_default(
        &self,
        name: &str,
        limit: u32,
        description: &str,
        settings: &str,
    ) -> Result<Option<ProjectId>, StoreError> {
        self.add(Add { name, limit, own: false, description, settings }).await
    }

    async fn add(&self, new: Add<'_>) -> Result<Option<ProjectId>, StoreError> {
        let name = new.name;
        if name.is_empty() || name.chars().count() > 180 {
            return Err(StoreError::Config(format!("the project name {name:?} must have 1 to 180 characters")));
        }
        self.write(&new).await
    }

    /// Sets the default limit: every project without a limit of its own gets it. A project of schema version 3, which did
    /// not record whose limit it is, has its own limit if it differs from the default at the first call.
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn project_default_limit(&self, limit: u32) -> Result<(), StoreError> {
        self.write(&DefaultLimit(limit)).await
    }

    /// All projects, sorted by name.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn projects(&self) -> Result<Vec<Project>, StoreError> {
        let rows = self.read(|sql| &sql.project_list, &[]).await?;
        let project = |row: &Row| {
            Ok(Project {
                id: ProjectId(row.num(0)?),
                name: row.string(1)?,
                limit: row.num(2)?,
                own_limit: row.num::<u8>(3)? == 1,
                description: row.string(4)?,
                settings: row.string(5)?,
                created_ms: row.num(6)?,
            })
        };
        rows.iter().map(project).collect()
    }

    /// Changes a project's description and settings; `Ask::SetLimit` changes its limit. `false` if the project does not
    /// exist.
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn project_update(&self, id: ProjectId, description: &str, settings: &str) -> Result<bool, StoreError> {
        self.write(&Update { id, description, settings }).await
    }

    /// Drops a project. Its finished jobs stay until retention deletes them. `false` if the project does not exist, or
    /// if it has documents or open jobs.
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn project_drop(&self, id: ProjectId) -> Result<bool, StoreError> {
        self.write(&Drop(id)).await
    }
}

struct Add<'a> {
    name: &'a str,
    limit: u32,
    own: bool,
    description: &'a str,
    settings: &'a str,
}

impl Work for Add<'_> {
    type Out = Option<ProjectId>;

    async fn run(&self, connection: &mut Connection) -> Result<Option<ProjectId>, Fault> {
        connection.begin().await?;
        // Checked first, because a refused insert would consume an id.
        if find(connection, self.name).await?.is_some() {
            return Ok(None);
        }
        let args = args![self.name, self.limit, u32::from(self.own), self.description, self.settings, wall_ms()];
        if connection.run(|sql| &sql.project_add, args).await? == 0 {
            // A concurrent request has created it.
            return Ok(None);
        }
        let id = find(connection, self.name).await?;
        connection.commit().await?;
        Ok(id)
    }
}

async fn find(connection: &mut Connection, name: &str) -> Result<Option<ProjectId>, Fault> {
    let rows = connection.rows(|sql| &sql.project_find, args![name]).await?;
    Ok(rows.first().map(|row| row.num(0)).transpose()?.map(ProjectId))
}

struct DefaultLimit(u32);

impl Work for DefaultLimit {
    type Out = ();

    async fn run(&self, connection: &mut Connection) -> Result<(), Fault> {
        connection.alone(|sql| &sql.project_default_limit, args![self.0]).await.map(drop)
    }
}

struct Update<'a> {
    id: ProjectId,
    description: &'a str,
    settings: &'a str,
}

impl Work for Update<'_> {
    type Out = bool;

    async fn run(&self, connection: &mut Connection) -> Result<bool, Fault> {
        Ok(connection.alone(|sql| &sql.project_update, args![self.id.0, self.description, self.settings]).await? > 0)
    }
}

struct Drop(ProjectId);

impl Work for Drop {
    type Out = bool;

    async fn run(&self, connection: &mut Connection) -> Result<bool, Fault> {
        let id = self.0.0;
        connection.begin().await?;
        // Waits for concurrent submits and documents. Later ones wait for this transaction.
        if connection.run(|sql| &sql.project_drop, args![id]).await? == 0 {
            return Ok(false);
        }
        let left: [fn(&Sql) -> &Statement; 2] = [|sql| &sql.project_open_jobs, |sql| &sql.project_docs];
        for left in left {
            let count = connection.rows(left, args![id]).await?;
            if count.first().map(|row| row.num::<i64>(0)).transpose()? != Some(0) {
                return Ok(false);
            }
        }
        connection.run(|sql| &sql.project_drop_segments, args![id]).await?;
        connection.run(|sql| &sql.project_drop_catalog, args![id]).await?;
        connection.run(|sql| &sql.project_drop_claim, args![target_name(Target::Project(self.0))]).await?;
        connection.commit().await?;
        Ok(true)
    }
}
