//! Settings of the cluster: its identity, its secret, its switches.

use crate::connection::{Connection, Work};
use crate::error::{Fault, StoreError};
use crate::store::Store;
use crate::wire::args;

impl Store {
    /// The value of a setting.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.read(|sql| &sql.setting_get, args![name]).await?.first().map(|row| row.string(0)).transpose()
    }

    /// Writes a setting if it does not exist. Returns the current value, and whether this call wrote it. If nodes start
    /// at once, exactly one of them writes it.
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn setting_or(&self, name: &str, value: &str) -> Result<(String, bool), StoreError> {
        self.write(&AddSetting { name, value }).await
    }

    /// Writes a setting.
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn setting_put(&self, name: &str, value: &str) -> Result<(), StoreError> {
        self.write(&PutSetting { name, value }).await
    }
}

struct AddSetting<'a> {
    name: &'a str,
    value: &'a str,
}

impl Work for AddSetting<'_> {
    type Out = (String, bool);

    async fn run(&self, connection: &mut Connection) -> Result<(String, bool), Fault> {
        if let Some(row) = connection.rows(|sql| &sql.setting_get, args![self.name]).await?.first() {
            return Ok((row.string(0)?, false));
        }
        connection.begin().await?;
        let added = connection.run(|sql| &sql.setting_add, args![self.name, self.value]).await?;
        connection.commit().await?;
        let rows = connection.rows(|sql| &sql.setting_get, args![self.name]).await?;
        let row = rows.first().ok_or_else(|| StoreError::Corrupt(format!("the setting {} vanished", self.name)))?;
        Ok((row.string(0)?, added == 1))
    }
}

struct PutSetting<'a> {
    name: &'a str,
    value: &'a str,
}

impl Work for PutSetting<'_> {
    type Out = ();

    async fn run(&self, connection: &mut Connection) -> Result<(), Fault> {
        connection.alone(|sql| &sql.setting_put, args![self.name, self.value]).await?;
        Ok(())
    }
}
