//! A configuration file as a source of settings, beside the environment.

use crate::error::Error;
use crate::settings::origin::Origin;
use crate::settings::setting::Setting;

/// A configuration file that a front end has read, or whose values it can ask for.
pub trait ConfigurationFile {
    /// What errors call it.
    fn name(&self) -> &str;

    /// What it says for a setting's key.
    fn value(&self, key: &str) -> Option<&str>;

    /// What is set: in the environment, else here. Nothing but white space counts as not set.
    ///
    /// # Errors
    /// [`Error::Settings`] names a variable whose value is not UTF-8.
    fn find(&self, setting: &'static Setting) -> Result<Option<(String, Origin)>, Error> {
        if let Some(found) = setting.from_env()? {
            return Ok(Some(found));
        }
        let Some(key) = setting.key else {
            return Ok(None);
        };
        let value = self.value(key).filter(|value| !value.trim().is_empty());
        Ok(value.map(|value| {
            let file = self.name().to_owned();
            (
                value.to_owned(),
                Origin::File {
                    key: key.into(),
                    file,
                },
            )
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Lines(&'static [(&'static str, &'static str)]);

    impl ConfigurationFile for Lines {
        fn name(&self) -> &str {
            "hsm.conf"
        }

        fn value(&self, key: &str) -> Option<&str> {
            let found = self.0.iter().find(|(known, _)| *known == key);
            found.map(|(_, value)| *value)
        }
    }

    /// A setting whose variable nobody sets.
    static IN_FILES: Setting = Setting {
        key: Some("colour"),
        variable: "AKV_TEST_NOBODY_SETS_THIS",
        default: "",
        range: None,
        help: "",
    };
    static IN_NO_FILE: Setting = Setting {
        key: None,
        variable: "AKV_TEST_NOBODY_SETS_THIS",
        default: "",
        range: None,
        help: "",
    };
    /// A setting whose variable is set wherever tests run.
    static IN_THE_ENVIRONMENT: Setting = Setting {
        key: Some("colour"),
        variable: "PATH",
        default: "",
        range: None,
        help: "",
    };

    #[test]
    fn a_file_says_what_the_environment_does_not() {
        let file = Lines(&[("colour", "blue")]);
        let (value, origin) = file.find(&IN_FILES).unwrap().unwrap();
        assert_eq!(value, "blue");
        assert_eq!(origin.to_string(), "'colour' in hsm.conf");
        let (_, origin) = file.find(&IN_THE_ENVIRONMENT).unwrap().unwrap();
        assert_eq!(origin.to_string(), "PATH");
        assert!(file.find(&IN_NO_FILE).unwrap().is_none());
    }

    #[test]
    fn nothing_but_white_space_is_not_set() {
        assert!(
            Lines(&[("colour", " \t")])
                .find(&IN_FILES)
                .unwrap()
                .is_none()
        );
        assert!(Lines(&[]).find(&IN_FILES).unwrap().is_none());
    }
}
