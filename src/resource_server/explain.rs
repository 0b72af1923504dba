//! Explains why a token was refused: what each step of a verification found, as a table.

use std::fmt;
use std::time::SystemTime;

use crate::error::Error;
use crate::resource_server::ResourceServer;
use crate::resource_server::options::VerifyOptions;
use crate::resource_server::steps::{Failure, Step};
use crate::resource_server::verify::{CallRequirements, UnverifiedToken};
use report::{Report, name};

mod report;

impl ResourceServer {
    /// Runs every check of [`verify_token`](Self::verify_token) on a token and reports how far it got: for a support ticket, not
    /// for a decision.
    ///
    /// It does what a verification does, including fetching keys, emitting events and counting, but it neither reads nor fills
    /// the cache of verified tokens.
    ///
    /// The result can be logged: it shows the expected names, times, lengths, the algorithm, and both ends of the `kid`. It
    /// contains no part of the token and no other claim values. Do not show it to the sender of the token.
    ///
    /// ```
    /// use aero2::CheckOutcome;
    /// let test = aero2::testing::TestIssuer::new();
    /// let rs = test.issuer().resource_server().audience("orders").build()?;
    /// let explanation = rs.explain(&test.token().audience("billing").sign());
    ///
    /// println!("{explanation}");
    /// let failed =
    ///     explanation.checks().find(|check| check.outcome() == CheckOutcome::Failed).unwrap();
    /// assert_eq!(
    ///     (failed.name(), failed.detail()),
    ///     ("audience", "WrongAudience: expected orders")
    /// );
    /// # Ok::<(), aero2::Error>(())
    /// ```
    pub fn explain(&self, token: &str) -> Explanation {
        let options = VerifyOptions::new();
        self.explained(token, &CallRequirements { policy: &self.0.policy, options: &options })
    }

    /// Like [`explain`](Self::explain), with the options of a call of [`verify_token_with`](Self::verify_token_with).
    ///
    /// # Errors
    /// [`Error::Config`] as for [`verify_token_with`](Self::verify_token_with).
    pub fn explain_with(&self, token: &str, options: &VerifyOptions) -> Result<Explanation, Error> {
        Ok(self.explained(token, &CallRequirements::new(&self.0.policy, options)?))
    }

    fn explained(&self, token: &str, call: &CallRequirements<'_>) -> Explanation {
        let mut report = Report::new(token, self.wall_clock(), call);
        let outcome = self.check_before_parsing(token).and_then(|now| {
            let parsed = UnverifiedToken::parse(token, None)?;
            self.verify_parsed(parsed, call, now, &mut |finding| report.note(&finding))
        });
        Explanation { checks: Step::ALL.iter().map(|step| explained(*step, outcome.as_ref().err(), &report)).collect() }
    }

    fn wall_clock(&self) -> SystemTime {
        self.issuer().http().clock.wall()
    }
}

fn explained(step: Step, failure: Option<&Failure<'_>>, report: &Report<'_>) -> ExplainedCheck {
    let failed_at = match failure {
        Some(Failure::Refused(refusal)) => Some(refusal.step),
        Some(Failure::Unjudged(step, _)) => Some(*step),
        None => None,
    };
    let (outcome, detail) = match failure {
        Some(failure) if failed_at == Some(step) => (CheckOutcome::Failed, report.failure(failure)),
        _ if failed_at.is_some_and(|failed_at| failed_at < step) => (CheckOutcome::NotReached, String::new()),
        _ => (CheckOutcome::Passed, report.detail(step)),
    };
    ExplainedCheck { name: name(step), outcome, detail }
}

/// How far a token got through its verification; made by [`ResourceServer::explain`](crate::ResourceServer::explain). `Display` prints a table.
///
/// It proves nothing: it cannot be turned into [`Claims`](crate::Claims), and it does not say that a token is good. To let a
/// request in, use [`verify_token`](crate::ResourceServer::verify_token).
#[derive(Clone, Debug)]
#[must_use = "an explanation lets nobody in; it is made to be read"]
pub struct Explanation {
    checks: Vec<ExplainedCheck>,
}

impl Explanation {
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

const NAME_WIDTH: usize = 15;
const OUTCOME_WIDTH: usize = 12;
