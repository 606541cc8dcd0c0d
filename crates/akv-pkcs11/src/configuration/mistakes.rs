//! What is wrong with a configuration: all of it is told at once, so that nobody has to correct one
//! mistake to hear of the next.

use std::cell::Cell;

use managed_hsm::{Origin, Setting, Settings};

/// The mistakes that were found, each once.
#[derive(Debug, Default)]
pub(super) struct Mistakes(Vec<String>);

impl Mistakes {
    /// Notes one. Whether it is new.
    pub(super) fn note(&mut self, mistake: String) -> bool {
        let is_new = !self.0.contains(&mistake);
        if is_new {
            self.0.push(mistake);
        }
        is_new
    }

    /// Notes those of another part.
    pub(super) fn extend(&mut self, others: &Self) {
        for mistake in &others.0 {
            self.note(mistake.clone());
        }
    }

    /// What was read, or nothing if that is a mistake.
    pub(super) fn take<T>(&mut self, read: Result<T, String>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(mistake) => {
                self.note(mistake);
                None
            }
        }
    }

    /// The same for what may be left out.
    pub(super) fn take_told<T>(&mut self, read: Result<Option<T>, String>) -> Option<T> {
        self.take(read).flatten()
    }

    pub(super) fn are_none(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them in one line.
    pub(super) fn text(&self) -> String {
        self.0.join("; ")
    }

    /// What was read, if nothing was wrong with it.
    pub(super) fn unless_any<T>(self, value: T) -> Result<T, Self> {
        match self.are_none() {
            true => Ok(value),
            false => Err(self),
        }
    }
}

/// The client's settings. After a mistake they are read again without the one that has it.
pub(super) fn read_settings(
    find: impl Fn(&'static Setting) -> Result<Option<(String, Origin)>, managed_hsm::Error>,
    mistakes: &mut Mistakes,
) -> Settings {
    let (mut left_out, last) = (Vec::new(), Cell::new(""));
    loop {
        let read = Settings::read(|setting| {
            last.set(setting.variable);
            match left_out.contains(&setting.variable) {
                true => Ok(None),
                false => find(setting),
            }
        });
        match read {
            Ok(settings) => return settings,
            Err(error) => {
                let is_new = mistakes.note(error.to_string());
                if !is_new && left_out.contains(&last.get()) {
                    return Settings::default();
                }
                left_out.push(last.get());
            }
        }
    }
}
