//! A private PostgreSQL and its standby, with synchronous streaming replication: acknowledged transactions are on both disks.

use super::postgres::Postgres;
use super::process::Place;

/// Two servers, one of which is the primary.
#[derive(Debug)]
pub struct Pair {
    primary: Postgres,
    standby: Postgres,
}

impl Pair {
    /// Creates and starts both, durably.
    ///
    /// # Errors
    /// If PostgreSQL is not installed or does not start.
    pub fn start_at(primary: Place, standby: Place) -> anyhow::Result<Self> {
        let primary = Postgres::start_at(primary, true)?;
        let standby = Postgres::follow_at(standby, &primary)?;
        primary.wait_for_standby()?;
        Ok(Self { primary, standby })
    }

    /// The primary.
    pub fn primary(&self) -> &Postgres {
        &self.primary
    }

    /// The standby.
    pub fn standby(&self) -> &Postgres {
        &self.standby
    }

    /// The primary, to be stopped and started.
    pub fn primary_mut(&mut self) -> &mut Postgres {
        &mut self.primary
    }

    /// Creates an empty database and returns its URL, with both hosts.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn database(&self) -> anyhow::Result<String> {
        let url = self.primary.database()?;
        let both = format!("{},{}", self.primary.host(), self.standby.host());
        Ok(url.replace(&self.primary.host(), &both) + "?targetServerType=primary")
    }

    /// Kills the primary and all its processes, and promotes the standby. The new primary has no standby until
    /// [`rejoin`](Self::rejoin).
    ///
    /// # Errors
    /// If the standby does not become the primary.
    pub fn fail_over(&mut self) -> anyhow::Result<()> {
        self.primary.until_standby_has_all()?;
        self.primary.kill()?;
        self.standby.promote()?;
        std::mem::swap(&mut self.primary, &mut self.standby);
        Ok(())
    }

    /// Turns the killed server into the standby of the other.
    ///
    /// # Errors
    /// If it does not follow the primary.
    pub fn rejoin(&mut self) -> anyhow::Result<()> {
        self.standby.follow(&self.primary)?;
        self.primary.wait_for_standby()
    }

    /// Starts the killed server as a second primary, which is an operating error that nodes must survive.
    ///
    /// # Errors
    /// If it does not start.
    pub fn split(&mut self) -> anyhow::Result<()> {
        self.standby.forget_standby()?;
        self.standby.resume()
    }
}
