//! A private PostgreSQL and its standby, by synchronous streaming replication: what is acknowledged is on both disks.

use super::postgres::Postgres;
use super::process::Place;

/// Two servers, one of which is the primary.
#[derive(Debug)]
pub struct Pair {
    primary: Postgres,
    standby: Postgres,
}

impl Pair {
    /// Makes and starts both, durably.
    ///
    /// # Errors
    /// If one is not installed or does not start.
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

    /// The other one.
    pub fn standby(&self) -> &Postgres {
        &self.standby
    }

    /// The primary, to be stopped and started.
    pub fn primary_mut(&mut self) -> &mut Postgres {
        &mut self.primary
    }

    /// An empty database: its URL, with both hosts.
    ///
    /// # Errors
    /// If it can't be made.
    pub fn database(&self) -> anyhow::Result<String> {
        let url = self.primary.database()?;
        let both = format!("{},{}", self.primary.host(), self.standby.host());
        Ok(url.replace(&self.primary.host(), &both) + "?targetServerType=primary")
    }

    /// Kills the primary and all its processes, and makes the standby the primary. Nothing follows it until
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

    /// Makes the one that was killed the standby of the other.
    ///
    /// # Errors
    /// If it does not follow.
    pub fn rejoin(&mut self) -> anyhow::Result<()> {
        self.standby.follow(&self.primary)?;
        self.primary.wait_for_standby()
    }

    /// Starts the one that was killed as what it was, a primary, as nobody should.
    ///
    /// # Errors
    /// If it does not start.
    pub fn split(&mut self) -> anyhow::Result<()> {
        self.standby.forget_standby()?;
        self.standby.resume()
    }
}
