//! What a setting is: one row of the table in [`super::table`], known to the command line, the environment and the file.

/// What a setting's text may look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// One text; the last one given counts.
    Text,
    /// `true` or `false`; the bare flag is `true`, `--no-…` is `false`.
    Switch,
    /// Texts: a repeatable flag, a comma list in the environment, an array in the file.
    List,
}

/// The heading of `--help` under which a setting stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heading {
    /// The socket and what is said on it.
    Lightning,
    /// Which runs are claimed and when.
    Workloops,
    /// What executes runs.
    Engine,
    /// Limits of a run that names none.
    Limits,
    /// The operator's log.
    Logging,
    /// The HTTP server.
    Http,
    /// The collections adaptor.
    Collections,
    /// Error reports.
    Sentry,
}

impl Heading {
    /// The heading as `--help` shows it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lightning => "Lightning",
            Self::Workloops => "Workloops",
            Self::Engine => "Engine",
            Self::Limits => "Limits",
            Self::Logging => "Logging",
            Self::Http => "HTTP",
            Self::Collections => "Collections",
            Self::Sentry => "Sentry",
        }
    }
}

/// One setting of the worker.
#[derive(Debug)]
pub struct Setting {
    /// The long flag without its dashes, which is also the key in the file.
    pub key: &'static str,
    /// The one-letter flag.
    pub short: Option<char>,
    /// Further long flags, from the reference's older versions.
    pub aliases: &'static [&'static str],
    /// The environment variables, the first that is set counts.
    pub variables: &'static [&'static str],
    /// The text that counts when nobody gives one.
    pub default: Option<&'static str>,
    /// What `--help` calls the value.
    pub value_name: &'static str,
    /// What the text may look like.
    pub kind: ValueKind,
    /// Where `--help` shows it.
    pub heading: Heading,
    /// Never shown: `***` stands for it.
    pub secret: bool,
    /// White space around the text is part of it.
    pub verbatim: bool,
    /// Left out of `--help`, of the file and of `config`.
    pub hidden: bool,
    /// One or two sentences for `--help`.
    pub help: &'static str,
}

impl Setting {
    /// A setting that takes a text.
    pub(crate) const fn text(
        heading: Heading,
        key: &'static str,
        value_name: &'static str,
        help: &'static str,
    ) -> Self {
        Self {
            key,
            short: None,
            aliases: &[],
            variables: &[],
            default: None,
            value_name,
            kind: ValueKind::Text,
            heading,
            secret: false,
            verbatim: false,
            hidden: false,
            help,
        }
    }

    /// A setting that is on or off.
    pub(crate) const fn switch(
        heading: Heading,
        key: &'static str,
        default: &'static str,
        help: &'static str,
    ) -> Self {
        let mut setting = Self::text(heading, key, "BOOL", help);
        setting.kind = ValueKind::Switch;
        setting.default = Some(default);
        setting
    }

    /// A setting that takes several texts.
    pub(crate) const fn list(
        heading: Heading,
        key: &'static str,
        value_name: &'static str,
        help: &'static str,
    ) -> Self {
        let mut setting = Self::text(heading, key, value_name, help);
        setting.kind = ValueKind::List;
        setting
    }

    pub(crate) const fn short(mut self, letter: char) -> Self {
        self.short = Some(letter);
        self
    }

    pub(crate) const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    pub(crate) const fn env(mut self, variables: &'static [&'static str]) -> Self {
        self.variables = variables;
        self
    }

    pub(crate) const fn default(mut self, text: &'static str) -> Self {
        self.default = Some(text);
        self
    }

    pub(crate) const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    pub(crate) const fn verbatim(mut self) -> Self {
        self.verbatim = true;
        self
    }

    pub(crate) const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// Whether the bare flag means what is the case anyway, so that `--no-…` is the flag worth showing.
    pub fn on_by_default(&self) -> bool {
        self.kind == ValueKind::Switch && self.default == Some("true")
    }

    /// The flag, and the variable if there is one: how messages name the setting.
    pub fn names(&self) -> String {
        let flag = if self.on_by_default() {
            format!("--no-{}", self.key)
        } else {
            format!("--{}", self.key)
        };
        match self.variables.first() {
            Some(variable) => format!("{flag} / {variable}"),
            None => flag,
        }
    }
}
