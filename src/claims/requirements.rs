//! What claims must say beyond the registered ones: audiences, scopes, and values of any claim.

use crate::claims::claim_set::ClaimSet;
use crate::claims::value::Pointer;
use crate::error::{ConfigProblem, Error};
use crate::oauth::is_scope_token;

/// Conditions on claims, collected by a builder. The first bad setting is kept until [`check_settings`](Self::check_settings).
#[derive(Clone, Debug, Default)]
pub(crate) struct ClaimRequirements {
    /// `None`: `aud` is not compared.
    pub(crate) audiences: Option<StringSet>,
    /// All of them.
    pub(crate) required_scopes: StringSet,
    /// At least one of each set.
    pub(crate) any_scope: Vec<StringSet>,
    pub(crate) claims: Vec<RequiredClaim>,
    problem: Option<ConfigProblem>,
}

/// The value at `pointer` is one of `values`, or an array that contains one.
#[derive(Clone, Debug)]
pub(crate) struct RequiredClaim {
    pub(crate) pointer: Pointer,
    pub(crate) values: StringSet,
}

impl ClaimRequirements {
    pub(crate) const fn new() -> Self {
        Self {
            audiences: None,
            required_scopes: StringSet::new(),
            any_scope: Vec::new(),
            claims: Vec::new(),
            problem: None,
        }
    }

    pub(crate) fn set_audiences<S: AsRef<str>>(&mut self, audiences: impl IntoIterator<Item = S>) {
        self.audiences = Some(StringSet::of(audiences));
    }

    pub(crate) fn add_required_scopes<S: AsRef<str>>(&mut self, scopes: impl IntoIterator<Item = S>) {
        let more = self.scopes(scopes);
        let all = self.required_scopes.as_slice().iter().chain(more.as_slice());
        self.required_scopes = StringSet::of(all);
    }

    pub(crate) fn add_any_scope<S: AsRef<str>>(&mut self, scopes: impl IntoIterator<Item = S>) {
        let scopes = self.scopes(scopes);
        if scopes.as_slice().is_empty() {
            self.note(ConfigProblem::NoValues("any_scope"));
        }
        self.any_scope.push(scopes);
    }

    pub(crate) fn add_claim<S: AsRef<str>>(&mut self, pointer: &str, values: impl IntoIterator<Item = S>) {
        let values = StringSet::of(values);
        if values.as_slice().is_empty() {
            self.note(ConfigProblem::NoValues("require_claim"));
        }
        // The whole document is an object and never a text.
        match Pointer::parse(pointer).filter(|_| !pointer.is_empty()) {
            Some(pointer) => self.claims.push(RequiredClaim { pointer, values }),
            None => self.note(ConfigProblem::Pointer(pointer.to_owned())),
        }
    }

    /// # Errors
    /// [`Error::Config`] for an empty list, an empty audience, a malformed scope, or a text that is not a pointer.
    pub(crate) fn check_settings(&self) -> Result<(), Error> {
        if let Some(problem) = &self.problem {
            return Err(Error::config(problem.clone()));
        }
        match self.audiences.as_ref().map(StringSet::as_slice) {
            Some([]) => Err(Error::config(ConfigProblem::EmptyAudienceList)),
            Some(all) if all.iter().any(String::is_empty) => Err(Error::config(ConfigProblem::EmptyAudience)),
            _ => Ok(()),
        }
    }

    pub(crate) fn note(&mut self, problem: ConfigProblem) {
        self.problem.get_or_insert(problem);
    }

    /// Each a scope-token (RFC 6749 §3.3): one with a space in it would never be found.
    fn scopes<S: AsRef<str>>(&mut self, scopes: impl IntoIterator<Item = S>) -> StringSet {
        let scopes = StringSet::of(scopes);
        for scope in scopes.as_slice() {
            if !is_scope_token(scope) {
                self.note(ConfigProblem::Scope);
            }
            if scope.contains(',') {
                self.note(ConfigProblem::ScopeList);
            }
        }
        scopes
    }

    pub(crate) fn has_scopes(&self, claims: &ClaimSet) -> bool {
        let any = |scopes: &StringSet| scopes.as_slice().iter().any(|scope| claims.has_scope(scope));
        has_all(claims, self.required_scopes.as_slice()) && self.any_scope.iter().all(any)
    }

    /// Every scope that a condition names.
    pub(crate) fn named_scopes(&self) -> impl Iterator<Item = &String> {
        self.required_scopes.as_slice().iter().chain(self.any_scope.iter().flat_map(StringSet::as_slice))
    }

    pub(crate) fn unmet_claim(&self, claims: &ClaimSet) -> Option<&RequiredClaim> {
        self.claims.iter().find(|required| !required.is_met(claims))
    }
}

fn has_all(claims: &ClaimSet, required: &[String]) -> bool {
    if required.len() <= FEW_SCOPES {
        return required.iter().all(|scope| claims.has_scope(scope));
    }
    let mut granted: Vec<&str> = claims.scopes().collect();
    granted.sort_unstable();
    required.iter().all(|scope| granted.binary_search(&scope.as_str()).is_ok())
}

impl RequiredClaim {
    fn is_met(&self, claims: &ClaimSet) -> bool {
        let Some(value) = claims.value_at(&self.pointer) else { return false };
        let is_accepted = |text: Option<&str>| text.is_some_and(|text| self.values.contains(text));
        is_accepted(value.as_str()) || value.iter().any(|member| is_accepted(member.as_str()))
    }
}

/// A set of strings, sorted so that no token makes a search quadratic.
#[derive(Clone, Debug, Default)]
pub(crate) struct StringSet(Vec<String>);

impl StringSet {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn of<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Self {
        let names: Vec<String> = names.into_iter().map(|name| name.as_ref().to_owned()).collect();
        // As slices, since that sort is in every program already, for the names of a large object.
        let mut sorted: Vec<&str> = names.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        sorted.dedup();
        Self(sorted.into_iter().map(str::to_owned).collect())
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.binary_search_by(|other| other.as_str().cmp(name)).is_ok()
    }

    pub(crate) fn as_slice(&self) -> &[String] {
        &self.0
    }
}

/// Required scopes up to which the token's are searched one by one rather than sorted.
const FEW_SCOPES: usize = 4;
