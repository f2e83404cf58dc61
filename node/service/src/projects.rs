//! Projects.

use kirin_core::{Answer, Ask, Event};
use kirin_metastore::{Extra, ProjectInfo, ProjectLimit, Store};
use kirin_shell::CoreHandle;

use crate::error::{Error, Result, Thing, Unconfirmed};
use crate::principal::Principal;

/// The projects of a cluster.
#[derive(Clone)]
pub struct Projects {
    pub(crate) store: Store,
    pub(crate) core: CoreHandle,
    /// The default of the maximum number of jobs of a project that run at once.
    pub(crate) limit: u32,
}

/// A project to create.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewProject {
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: String,
    /// The maximum number of its jobs that run at once; the node's default if absent.
    pub limit: Option<u32>,
}

impl Projects {
    /// All projects.
    ///
    /// # Errors
    /// If the metastore does not respond.
    pub async fn list(&self, _who: &Principal) -> Result<Vec<ProjectInfo>> {
        Ok(self.store.projects().await?)
    }

    /// The project with this name.
    ///
    /// # Errors
    /// If it does not exist, or the metastore does not respond.
    pub async fn find(&self, _who: &Principal, name: &str) -> Result<ProjectInfo> {
        self.store.project(name).await?.ok_or_else(|| Error::NoProject(name.to_owned()))
    }

    /// Creates a project, owned by the principal.
    ///
    /// # Errors
    /// If the name exists or is not allowed.
    pub async fn create(&self, who: &Principal, new: NewProject) -> Result<ProjectInfo> {
        named(Thing::Project, &new.name)?;
        // Names in the metastore are case-sensitive, but users expect them not to be.
        if let Some(other) = self.store.project(&new.name).await? {
            return Err(Error::ProjectExists(other.name));
        }
        let limit = new.limit.map_or(ProjectLimit::Default(self.limit), ProjectLimit::Own);
        let Some(made) = self.store.create_project(&new.name, &new.description, who.name(), limit).await? else {
            return Err(Error::ProjectExists(new.name));
        };
        self.core.tell(Event::ListsChanged);
        Ok(made)
    }

    /// Drops an empty project.
    ///
    /// # Errors
    /// If it is not empty.
    pub async fn drop(&self, who: &Principal, name: &str) -> Result<()> {
        let project = self.find(who, name).await?;
        let is_empty = self.store.docs(project.id).await?.is_empty();
        if !is_empty || !self.store.drop_project(project.id).await? {
            return Err(Error::ProjectInUse(name.to_owned()));
        }
        Ok(())
    }

    /// Changes the maximum number of its jobs that run at once.
    ///
    /// # Errors
    /// If the project does not exist, or the change is not confirmed.
    pub async fn set_limit(&self, who: &Principal, name: &str, limit: u32) -> Result<()> {
        let project = self.find(who, name).await?;
        match self.store.ask(&Ask::SetLimit { project: project.id, limit }, Extra::None).await {
            Answer::Done => {}
            Answer::Refused => return Err(Error::Changed),
            _ => return Err(Error::Unconfirmed(Unconfirmed::Change)),
        }
        self.core.tell(Event::ListsChanged);
        Ok(())
    }
}

/// Checks that a name is usable in paths, tables and queries.
pub(crate) fn named(of: Thing, name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > 100 || !name.chars().all(fits) || !name.starts_with(char::is_alphanumeric) {
        return Err(Error::Name { of, name: name.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_at_most_100_characters_and_starts_with_a_letter_or_digit() {
        for name in ["p", "2025", "sales-eu_1", &"a".repeat(100)] {
            assert!(named(Thing::Project, name).is_ok(), "{name}");
        }
        for name in ["", "_p", "-p", "a b", "a/b", "ä", &"a".repeat(101)] {
            let refused = named(Thing::Table, name);
            assert!(matches!(&refused, Err(Error::Name { of: Thing::Table, name: n }) if n == name), "{name}");
        }
    }
}
