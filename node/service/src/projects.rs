//! Projects.

use kirin_core::{Answer, Ask, Event};
use kirin_metastore::{Extra, ProjectInfo, Store};
use kirin_shell::CoreHandle;

use crate::error::{Error, Result, Thing, Unconfirmed};
use crate::principal::Principal;

/// The projects of a cluster.
#[derive(Clone)]
pub struct Projects {
    pub(crate) store: Store,
    pub(crate) core: CoreHandle,
    /// How many jobs of a project run at once, if it says nothing of it.
    pub(crate) limit: u32,
}

/// A project to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewProject {
    /// Its name.
    pub name: String,
    /// A line about it.
    pub description: String,
    /// How many of its jobs run at once; the node's default if absent.
    pub limit: Option<u32>,
}

impl Projects {
    /// All projects.
    ///
    /// # Errors
    /// If the metastore does not answer.
    pub async fn list(&self, _who: &Principal) -> Result<Vec<ProjectInfo>> {
        Ok(self.store.projects().await?)
    }

    /// The project of that name.
    ///
    /// # Errors
    /// If there is none, or the metastore does not answer.
    pub async fn find(&self, _who: &Principal, name: &str) -> Result<ProjectInfo> {
        self.store.project(name).await?.ok_or_else(|| Error::NoProject(name.to_owned()))
    }

    /// Makes a project, which that principal owns.
    ///
    /// # Errors
    /// If there is one of that name, or none can have it.
    pub async fn create(&self, who: &Principal, new: NewProject) -> Result<ProjectInfo> {
        named(Thing::Project, &new.name)?;
        // The metastore tells upper from lower case; users do not.
        if let Some(other) = self.store.project(&new.name).await? {
            return Err(Error::ProjectExists(other.name));
        }
        let limit = new.limit.unwrap_or(self.limit);
        let Some(made) = self.store.create_project(&new.name, &new.description, who.name(), limit).await? else {
            return Err(Error::ProjectExists(new.name));
        };
        self.core.tell(Event::ListsChanged);
        Ok(made)
    }

    /// Drops a project in which nothing is left.
    ///
    /// # Errors
    /// If something is left in it.
    pub async fn drop(&self, who: &Principal, name: &str) -> Result<()> {
        let project = self.find(who, name).await?;
        let is_empty = self.store.docs(project.id).await?.is_empty();
        if !is_empty || !self.store.drop_project(project.id).await? {
            return Err(Error::ProjectInUse(name.to_owned()));
        }
        Ok(())
    }

    /// Changes how many of its jobs run at once.
    ///
    /// # Errors
    /// If there is no such project, or the change is not confirmed.
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

/// Checks a name that has to stand in a path, a table and a query.
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
    fn a_name_has_at_most_100_letters_and_digits_and_begins_with_one() {
        for name in ["p", "2025", "sales-eu_1", &"a".repeat(100)] {
            assert!(named(Thing::Project, name).is_ok(), "{name}");
        }
        for name in ["", "_p", "-p", "a b", "a/b", "ä", &"a".repeat(101)] {
            let refused = named(Thing::Table, name);
            assert!(matches!(&refused, Err(Error::Name { of: Thing::Table, name: n }) if n == name), "{name}");
        }
    }
}
