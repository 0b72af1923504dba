//! What an explanation of a verification consists of, and how it is printed.

use std::fmt;

/// How far a token got through its verification; made by [`ResourceServer::explain`](crate::ResourceServer::explain). `Display` prints a table.
///
/// It proves nothing: it cannot be turned into [`Claims`](crate::Claims), and it does not say that a token is good. To let a
/// request in, use [`verify_token`](crate::ResourceServer::verify_token).
#[derive(Clone, Debug)]
pub struct Explanation {
    checks: Vec<ExplainedCheck>,
}

impl Explanation {
    pub(crate) fn new(checks: Vec<ExplainedCheck>) -> Self {
        Self { checks }
    }

    /// All checks, in the order in which they are made.
    pub fn checks(&self) -> impl Iterator<Item = &ExplainedCheck> {
        self.checks.iter()
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            let line = format!("{:<NAME_WIDTH$} {:<OUTCOME_WIDTH$} {}", check.name, check.outcome, check.detail);
            writeln!(f, "{}", line.trim_end())?;
        }
        f.write_str("(an explanation, not a verification)")
    }
}

/// One check of an [`Explanation`].
#[derive(Clone, Debug)]
pub struct ExplainedCheck {
    name: &'static str,
    outcome: CheckOutcome,
    detail: String,
}

impl ExplainedCheck {
    pub(crate) fn new(name: &'static str, outcome: CheckOutcome, detail: String) -> Self {
        Self { name, outcome, detail }
    }

    /// The name of the check, in a word or two.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How the check ended.
    pub fn outcome(&self) -> CheckOutcome {
        self.outcome
    }

    /// What was found and what was expected. For a failed check, the text begins with the kind of the refusal or says why the
    /// token could not be judged. It is written for people, and the wording may change. It is empty for a check that was not
    /// reached.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

/// How a check of an [`Explanation`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckOutcome {
    /// The token passed the check.
    Passed,
    /// The check refused the token or could not judge it.
    Failed,
    /// An earlier check failed.
    NotReached,
}

impl fmt::Display for CheckOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::NotReached => "not reached",
        })
    }
}

const NAME_WIDTH: usize = 11;
const OUTCOME_WIDTH: usize = 12;
