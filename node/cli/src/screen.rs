//! Output of commands: results go to standard output, progress and prompts to standard error.

use std::io::{self, IsTerminal, Write};

use serde_json::value::RawValue;

use super::args::{Format, Global};
use super::exit::{Exit, Failure};

/// The terminal, or a replacement such as a pipe or a test's buffer.
pub struct Screen<'a> {
    out: &'a mut (dyn Write + Send),
    format: Format,
    /// Whether results may have colours.
    pub color: bool,
    /// Whether prompts are possible.
    pub interactive: bool,
}

impl<'a> Screen<'a> {
    /// A screen that writes to `out` in the format that the options select.
    pub fn new(out: &'a mut (dyn Write + Send), global: &Global) -> Self {
        let no_color = global.no_color || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let color = !no_color && io::stdout().is_terminal();
        let interactive = io::stdin().is_terminal() && io::stderr().is_terminal();
        Self { out, format: global.output, color, interactive }
    }

    /// Whether to print the server's JSON.
    pub fn wants_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Prints text unchanged. A closed pipe (`| head`) is not a failure.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub fn print(&mut self, text: &str) -> Result<(), Failure> {
        match self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()) {
            Err(e) if !Failure::is_closed_pipe(&e) => {
                Err(Failure::failed(format!("cannot write to standard output: {e}")))
            }
            _ => Ok(()),
        }
    }

    /// Prints a warning on standard error.
    pub fn warn(&self, text: &str) {
        // If standard error is closed, the warning is lost.
        let _ = writeln!(io::stderr(), "warning: {text}");
    }

    /// Prints the server's JSON unchanged on one line.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub fn json(&mut self, data: &RawValue) -> Result<(), Failure> {
        self.print(&format!("{}\n", data.get()))
    }

    /// Prints the JSON if the options select it, else the text.
    ///
    /// # Errors
    /// If the text cannot be produced or written.
    pub fn show(&mut self, data: &RawValue, text: impl FnOnce(bool) -> Result<String, Failure>) -> Result<(), Failure> {
        if self.wants_json() {
            return self.json(data);
        }
        let text = text(self.color)?;
        self.print(&text)
    }

    /// Asks for confirmation before a destructive command: `what` it would do, as in "drop table 'x'". Without a terminal,
    /// `--yes` is required.
    ///
    /// # Errors
    /// If the user does not confirm.
    pub fn confirm(&self, what: &str, yes: bool) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        if !self.interactive {
            return Err(Failure::new(
                Exit::Usage,
                format!("this would {what}; nothing was changed"),
                "Confirmation needs a terminal. Without one, add --yes.",
            ));
        }
        let mut answer = String::new();
        let asked = write!(io::stderr(), "This will {what}. Continue? [y/N] ")
            .and_then(|()| io::stdin().read_line(&mut answer));
        match asked {
            Ok(_) if matches!(answer.trim(), "y" | "Y" | "yes") => Ok(()),
            _ => Err(Failure::new(Exit::Failed, "nothing was changed", "Answer y, or add --yes.")),
        }
    }
}
