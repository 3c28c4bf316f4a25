//! What the audience sees: prompts, commands, what came of them.

use std::{
    env,
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use crossterm::style::{Attribute, Color, Stylize};
use rdb_testbed::{Node, Output};

/// Upper bound of one step.
pub const LIMIT: Duration = Duration::from_secs(900);

/// Prints to the terminal, in colour if it is one.
pub struct Stage {
    colour: bool,
    begin: Instant,
}

impl Stage {
    /// A stage on standard output.
    pub fn new() -> Self {
        let colour = io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none();
        Self {
            colour,
            begin: Instant::now(),
        }
    }

    /// True on a terminal: progress may be drawn over itself.
    pub fn is_terminal(&self) -> bool {
        self.colour
    }

    fn paint(&self, text: &str, colour: Color) -> String {
        if self.colour {
            text.with(colour).attribute(Attribute::Bold).to_string()
        } else {
            text.to_owned()
        }
    }

    /// A new chapter.
    pub fn chapter(&self, title: &str) {
        let time = format!("[{:>4.0} s]", self.begin.elapsed().as_secs_f64());
        println!("\n{} {}", time, self.paint(title, Color::Cyan));
    }

    /// What just happened, in a sentence.
    pub fn says(&self, text: &str) {
        println!("  {text}");
    }

    /// A check that held.
    pub fn good(&self, text: &str) {
        println!("  {} {text}", self.paint("ok:", Color::Green));
    }

    /// A check that did not.
    pub fn bad(&self, text: &str) {
        println!("  {} {text}", self.paint("FAILED:", Color::Red));
    }

    fn prompt(&self, node: &Node, command: &str) {
        let prompt = format!("root@{}:~#", node.name());
        let colour = if node.address().ends_with("11") {
            Color::Yellow
        } else {
            Color::Magenta
        };
        println!("{} {command}", self.paint(&prompt, colour));
    }

    /// A command that must succeed, with what it prints shown; its standard output.
    ///
    /// # Errors
    ///
    /// It fails.
    pub fn types(&self, node: &Node, command: &str) -> Result<String> {
        self.prompt(node, command);
        let output = node.sh_within(command, LIMIT)?;
        show(&output.all());
        finished(node, command, &output)?;
        Ok(output.out().trim_end().to_owned())
    }

    /// A command that must fail, with what it prints shown.
    ///
    /// # Errors
    ///
    /// It succeeds.
    pub fn is_refused(&self, node: &Node, command: &str) -> Result<()> {
        self.prompt(node, command);
        show(&node.run_fails(command)?);
        Ok(())
    }

    /// A command that must succeed, with what it prints shown as it comes.
    ///
    /// # Errors
    ///
    /// It fails.
    pub fn types_and_watches(&self, node: &Node, command: &str) -> Result<()> {
        self.prompt(node, command);
        // On a terminal the command gets one, too, so that it draws its progress.
        let call = if self.colour {
            format!("script -qec '{command}' /dev/null")
        } else {
            command.to_owned()
        };
        let mut running = node.spawn(&call)?;
        let mut shown = 0;
        let end = Instant::now() + LIMIT;
        let mut alive = true;
        while alive {
            alive = running.look();
            let printed = &running.printed().stdout;
            io::stdout().write_all(&printed[shown..])?;
            io::stdout().flush()?;
            shown = printed.len();
            if Instant::now() > end {
                bail!("{}: `{command}` is not done after {LIMIT:?}", node.name());
            }
            if alive {
                std::thread::sleep(Duration::from_millis(200));
            }
        }
        let output = running.wait(LIMIT)?;
        finished(node, command, &output)
    }

    /// A file that a person would write with an editor; shown whole.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn edits(&self, node: &Node, path: &str, text: &str) -> Result<()> {
        self.prompt(node, &format!("cat >{path} <<END"));
        show(text);
        println!("END");
        node.write_file(path, text)
    }
}

fn show(text: &str) {
    if !text.trim().is_empty() {
        println!("{}", text.trim_end());
    }
}

fn finished(node: &Node, command: &str, output: &Output) -> Result<()> {
    if output.code != 0 {
        bail!(
            "{}: `{command}` ended with code {}:\n{}",
            node.name(),
            output.code,
            output.all()
        );
    }
    Ok(())
}
