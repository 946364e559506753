//! How a command asks before it changes something. The plan is on the screen already.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

/// The exit code of a command that showed its plan and did nothing.
pub(crate) const NOT_CONFIRMED_CODE: u8 = 3;

/// A command was not confirmed, and did nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotConfirmed {
    #[error("no terminal to ask for confirmation; check the plan above and repeat the command with --yes")]
    NoTerminal,
    #[error("nothing was done")]
    Declined,
}

/// Asks a question at the terminal, unless `yes` answers it.
pub(crate) fn confirm(question: &str, yes: bool) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(NotConfirmed::NoTerminal.into());
    }
    let mut screen = std::io::stderr();
    write!(screen, "{question} [y/N] ")?;
    screen.flush()?;
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed)?;
    if is_yes(&typed) { Ok(()) } else { Err(NotConfirmed::Declined.into()) }
}

fn is_yes(typed: &str) -> bool {
    matches!(typed.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_confirms() {
        assert!(is_yes("y\n") && is_yes(" YES\r\n"));
        assert!(!is_yes("") && !is_yes("\n") && !is_yes("n\n") && !is_yes("yess\n"));
    }
}
