//! Where commands print: results to standard output, progress and questions to standard error.

use std::io::{self, IsTerminal, Write};

use serde_json::value::RawValue;

use super::args::{Format, Global};
use super::exit::{Exit, Failure};

/// The terminal, or whatever stands in its place.
pub struct Screen<'a> {
    out: &'a mut (dyn Write + Send),
    format: Format,
    /// Whether results may have colours.
    pub color: bool,
    /// Whether a person can be asked.
    pub interactive: bool,
}

impl<'a> Screen<'a> {
    /// A screen that writes to `out`, in the format that the options ask for.
    pub fn new(out: &'a mut (dyn Write + Send), global: &Global) -> Self {
        let no_color = global.no_color || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let color = !no_color && io::stdout().is_terminal();
        let interactive = io::stdin().is_terminal() && io::stderr().is_terminal();
        Self { out, format: global.output, color, interactive }
    }

    /// Whether the server's JSON is wanted.
    pub fn wants_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Prints text as it is. A reader that went away (`| head`) is no failure.
    ///
    /// # Errors
    /// If standard output can't be written.
    pub fn print(&mut self, text: &str) -> Result<(), Failure> {
        match self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()) {
            Err(e) if !Failure::is_closed_pipe(&e) => Err(Failure::failed(format!("can't write the result: {e}"))),
            _ => Ok(()),
        }
    }

    /// Prints the server's JSON verbatim, on a line of its own.
    ///
    /// # Errors
    /// If standard output can't be written.
    pub fn json(&mut self, data: &RawValue) -> Result<(), Failure> {
        self.print(&format!("{}\n", data.get()))
    }

    /// Prints the JSON if it is wanted, else the text.
    ///
    /// # Errors
    /// If the text can't be made or written.
    pub fn show(&mut self, data: &RawValue, text: impl FnOnce(bool) -> Result<String, Failure>) -> Result<(), Failure> {
        if self.wants_json() {
            return self.json(data);
        }
        let text = text(self.color)?;
        self.print(&text)
    }

    /// Asks before something is destroyed. Without a terminal to ask on, only `--yes` permits it.
    ///
    /// # Errors
    /// If it is not permitted.
    pub fn confirm(&self, what: &str, yes: bool) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        if !self.interactive {
            return Err(Failure::new(
                Exit::Usage,
                format!("nothing was done: {what}"),
                "There is no terminal to ask on: give --yes.",
            ));
        }
        let mut answer = String::new();
        let asked = write!(io::stderr(), "{what} Go on? [y/N] ").and_then(|()| io::stdin().read_line(&mut answer));
        match asked {
            Ok(_) if matches!(answer.trim(), "y" | "Y" | "yes") => Ok(()),
            _ => Err(Failure::new(Exit::Failed, "nothing was done", "Answer y, or give --yes.")),
        }
    }
}
