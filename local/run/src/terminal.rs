//! Keys from standard input: at once from a terminal, with Enter from everything else.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal as _, stdin},
};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines, Stdin};

/// Begins the bytes of an arrow key and its like.
const ESCAPE: u8 = 0x1b;
/// Ctrl-D.
const END_OF_INPUT: u8 = 0x04;

/// The keys that a person presses.
pub(crate) enum Keys {
    Terminal { input: Stdin, pressed: VecDeque<u8>, _mode: KeyMode },
    Lines(Lines<BufReader<Stdin>>),
}

impl Keys {
    /// Opens standard input. A terminal reports each key at once from now on, until the value is
    /// dropped.
    pub(crate) fn open() -> Self {
        let input = tokio::io::stdin();
        match KeyMode::enter() {
            Some(mode) => Self::Terminal { input, pressed: VecDeque::new(), _mode: mode },
            None => Self::Lines(BufReader::new(input).lines()),
        }
    }

    /// Whether a key needs Enter behind it.
    pub(crate) fn need_enter(&self) -> bool {
        matches!(self, Self::Lines(_))
    }

    /// The next key, without spaces around it. `None` at the end of the input.
    pub(crate) async fn next(&mut self) -> Option<String> {
        let (input, pressed) = match self {
            Self::Lines(lines) => return lines.next_line().await.ok().flatten().map(|line| line.trim().to_owned()),
            Self::Terminal { input, pressed, .. } => (input, pressed),
        };
        loop {
            if let Some(key) = pressed.pop_front() {
                return Some(char::from(key).to_string());
            }
            let mut bytes = [0; 64];
            let count = input.read(&mut bytes).await.ok().filter(|count| *count > 0)?;
            let bytes = &bytes[..count];
            if bytes.contains(&END_OF_INPUT) {
                return None;
            }
            if bytes.first() != Some(&ESCAPE) {
                pressed.extend(bytes.iter().filter(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}

/// A terminal that reports each key at once and does not show it. Ctrl-C and the output stay as
/// they are. The earlier mode returns when this is dropped, also while a panic unwinds.
pub(crate) struct KeyMode {
    earlier: Termios,
}

impl KeyMode {
    /// `None` if standard input is not a terminal, or has no modes.
    fn enter() -> Option<Self> {
        if !stdin().is_terminal() {
            return None;
        }
        let earlier = tcgetattr(stdin()).ok()?;
        let mut keys = earlier.clone();
        keys.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        keys.special_codes[SpecialCodeIndex::VMIN] = 1;
        keys.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(stdin(), OptionalActions::Now, &keys).ok()?;
        Some(Self { earlier })
    }
}

impl Drop for KeyMode {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(stdin(), OptionalActions::Now, &self.earlier) {
            tracing::warn!("could not restore the terminal ({}); type `reset`", io::Error::from(error));
        }
    }
}
