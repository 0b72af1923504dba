//! A JSON object of claims (RFC 7519 §4) with every registered claim typed: what an access token's payload and an introspection
//! answer have in common. Who vouches for it is not known here.

use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::claims::value::{self, ClaimValue, Pointer};
use crate::json::{Element, Number, Object, Span, Value, WrongType};

/// Claims as read: a registered claim of the wrong JSON type is an error, and one that is null counts as absent.
pub(crate) struct ClaimSet {
    object: Object,
    registered: Registered,
    /// Made when first asked for: the checks do without.
    audience_list: OnceLock<Vec<String>>,
    scope_text: OnceLock<String>,
}

/// Where a value lies that is a text or an array of texts.
type Place = usize;

/// The claim `cnf` (RFC 7800 §3.1): the token is bound to a key of its sender.
#[derive(Clone, Copy, Debug, Default)]
struct Confirmation {
    key_thumbprint: Option<Span>,
    certificate_thumbprint: Option<Span>,
    /// Whether `x5t#S256` is all that it says.
    certificate_alone: bool,
}

/// Seconds since 1970 that every platform can hold (RFC 7519 §2), as a span so that adding a tolerance to it cannot overflow unseen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NumericDate {
    since_epoch: Duration,
    time: SystemTime,
}

impl NumericDate {
    /// `None` outside of 1970 … 9999, whose ends are included; a fraction is allowed.
    fn new(number: Number<'_>) -> Option<Self> {
        Self::at(number.as_seconds().filter(|seconds| *seconds <= MAX_DATE)?)
    }

    fn at(since_epoch: Duration) -> Option<Self> {
        Some(Self { since_epoch, time: UNIX_EPOCH.checked_add(since_epoch)? })
    }

    pub(crate) fn since_epoch(self) -> Duration {
        self.since_epoch
    }

    pub(crate) fn time(self) -> SystemTime {
        self.time
    }
}

/// Why a text gives no claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClaimsProblem {
    /// It is not a JSON object with unique member names.
    NotAnObject,
    /// The registered claim of this name is of the wrong type or out of range.
    Claim(&'static str),
}

impl ClaimSet {
    /// Reads the claims in `raw`. Bad JSON comes before a bad claim.
    pub(crate) fn parse(raw: String) -> Result<Self, ClaimsProblem> {
        let object = Object::parse(raw).map_err(|_| ClaimsProblem::NotAnObject)?;
        let mut registered = Registered::default();
        registered.read(&object).map_err(ClaimsProblem::Claim)?;
        Ok(Self { object, registered, audience_list: OnceLock::new(), scope_text: OnceLock::new() })
    }

    /// As [`parse`](Self::parse), of an introspection answer: there an `exp` beyond the year 9999 is the end of that year, since some
    /// issuers mean "never" by it.
    pub(crate) fn parse_introspection(raw: String) -> Result<Self, ClaimsProblem> {
        let object = Object::parse(raw).map_err(|_| ClaimsProblem::NotAnObject)?;
        let is_later = |exp: &Element<'_>| exp.as_number().and_then(Number::as_seconds).is_some_and(|at| at > MAX_DATE);
        let latest = object.members().get("exp").filter(is_later).and_then(|_| NumericDate::at(MAX_DATE));
        let mut registered = Registered { expires_at: latest, ..Registered::default() };
        registered.read(&object).map_err(ClaimsProblem::Claim)?;
        Ok(Self { object, registered, audience_list: OnceLock::new(), scope_text: OnceLock::new() })
    }

    /// As [`parse`](Self::parse), of bytes.
    pub(crate) fn from_bytes(raw: Vec<u8>) -> Result<Self, ClaimsProblem> {
        Self::parse(String::from_utf8(raw).map_err(|_| ClaimsProblem::NotAnObject)?)
    }

    /// The text that the claims were read from.
    pub(crate) fn raw_json(&self) -> &str {
        self.object.source()
    }

    pub(crate) fn issuer(&self) -> Option<&str> {
        self.text(self.registered.issuer)
    }

    pub(crate) fn subject(&self) -> Option<&str> {
        self.text(self.registered.subject)
    }

    pub(crate) fn jwt_id(&self) -> Option<&str> {
        self.text(self.registered.jwt_id)
    }

    pub(crate) fn client_id(&self) -> Option<&str> {
        self.text(self.registered.client_id)
    }

    pub(crate) fn token_use(&self) -> Option<&str> {
        self.text(self.registered.token_use)
    }

    /// The claim `typ`, if it is a text: Keycloak says there what kind of token this is.
    pub(crate) fn typ(&self) -> Option<&str> {
        self.text(self.registered.typ)
    }

    pub(crate) fn expires_at(&self) -> Option<NumericDate> {
        self.registered.expires_at
    }

    pub(crate) fn not_before(&self) -> Option<NumericDate> {
        self.registered.not_before
    }

    pub(crate) fn issued_at(&self) -> Option<NumericDate> {
        self.registered.issued_at
    }

    /// Every audience; `None` if there is no `aud`.
    pub(crate) fn audiences(&self) -> Option<impl Iterator<Item = &str>> {
        self.registered.audience.map(|at| self.texts(at))
    }

    /// As [`audiences`](Self::audiences), collected once.
    pub(crate) fn audience(&self) -> Option<&[String]> {
        let audiences = self.audiences()?;
        Some(self.audience_list.get_or_init(|| audiences.map(str::to_owned).collect()))
    }

    /// `scope`, else `scp`; the members of an array joined by a space.
    pub(crate) fn scope(&self) -> Option<&str> {
        let at = self.registered.scope()?;
        match self.object.element(at)?.as_str() {
            Some(text) => Some(text),
            None => Some(self.scope_text.get_or_init(|| self.texts(at).collect::<Vec<_>>().join(" "))),
        }
    }

    /// Each granted scope: what stands between spaces of a text (U+0020 and no other white space, RFC 6749 §3.3), and each member of
    /// an array as it is.
    pub(crate) fn scopes(&self) -> impl Iterator<Item = &str> {
        let element = self.registered.scope().and_then(|at| self.object.element(at));
        let separated = element.and_then(|element| element.as_str()).map(|text| text.split(' '));
        let listed = element.and_then(|element| element.elements());
        let listed = listed.into_iter().flatten().filter_map(|element| element.as_str());
        separated.into_iter().flatten().chain(listed).filter(|scope| !scope.is_empty())
    }

    pub(crate) fn has_scope(&self, scope: &str) -> bool {
        self.scopes().any(|granted| granted == scope)
    }

    /// Whether there is a `cnf`, of whatever form: such a token is not for whoever merely holds it.
    pub(crate) fn is_sender_constrained(&self) -> bool {
        self.registered.confirmation.is_some()
    }

    /// `cnf.jkt`: the thumbprint of the sender's DPoP key (RFC 9449 §6.1).
    pub(crate) fn key_thumbprint(&self) -> Option<&str> {
        self.text(self.registered.confirmation?.key_thumbprint)
    }

    /// `cnf.x5t#S256`: the thumbprint of the sender's certificate (RFC 8705 §3.1).
    pub(crate) fn certificate_thumbprint(&self) -> Option<&str> {
        self.text(self.registered.confirmation?.certificate_thumbprint)
    }

    /// As [`certificate_thumbprint`](Self::certificate_thumbprint), if the token is bound to nothing else.
    pub(crate) fn sole_certificate_thumbprint(&self) -> Option<&str> {
        self.text(
            self.registered.confirmation.filter(|confirmation| confirmation.certificate_alone)?.certificate_thumbprint,
        )
    }

    /// The value of a top-level member.
    pub(crate) fn get(&self, name: &str) -> Option<ClaimValue<'_>> {
        self.object.members().get(name).and_then(ClaimValue::new)
    }

    pub(crate) fn pointer(&self, pointer: &str) -> Option<ClaimValue<'_>> {
        value::find(&self.object, pointer)
    }

    pub(crate) fn value_at(&self, pointer: &Pointer) -> Option<ClaimValue<'_>> {
        pointer.find(&self.object)
    }

    /// The client that the token was issued to, by the name that the issuer uses for the claim.
    pub(crate) fn client(&self) -> Option<&str> {
        self.client_id().or_else(|| ["azp", "cid", "appid"].into_iter().find_map(|name| self.get_str(name)))
    }

    /// `acr`: `Err` if it is not a text.
    pub(crate) fn authentication_class(&self) -> Result<Option<&str>, WrongType> {
        self.object.string("acr")
    }

    /// `auth_time`: `Err` if it is not a date.
    pub(crate) fn authenticated_at(&self) -> Result<Option<NumericDate>, WrongType> {
        self.object.number("auth_time")?.map(|number| NumericDate::new(number).ok_or(WrongType)).transpose()
    }

    /// The text of a top-level member, the unregistered ones as well; likewise the next three.
    pub(crate) fn get_str(&self, name: &str) -> Option<&str> {
        self.object.string(name).ok().flatten()
    }

    pub(crate) fn get_bool(&self, name: &str) -> Option<bool> {
        self.object.boolean(name).ok().flatten()
    }

    pub(crate) fn get_i64(&self, name: &str) -> Option<i64> {
        self.object.number(name).ok().flatten()?.as_i64()
    }

    pub(crate) fn get_f64(&self, name: &str) -> Option<f64> {
        self.object.number(name).ok().flatten()?.as_f64()
    }

    fn text(&self, span: Option<Span>) -> Option<&str> {
        span.map(|span| self.object.text(span))
    }

    /// The texts of the value at `at`, which is one text or an array of them.
    fn texts(&self, at: usize) -> impl Iterator<Item = &str> {
        let element = self.object.element(at);
        let one = element.and_then(|element| element.as_str());
        let many = element.and_then(|element| element.elements()).into_iter().flatten();
        one.into_iter().chain(many.filter_map(|element| element.as_str()))
    }
}

impl fmt::Debug for ClaimSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimSet(..)")
    }
}

/// Serializes as the object that was read.
#[cfg(feature = "serde")]
impl serde::Serialize for ClaimSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value: serde_json::Value = serde_json::from_str(self.raw_json())
            .map_err(|_| serde::ser::Error::custom("the claims hold a number that does not fit"))?;
        value.serialize(serializer)
    }
}

/// The registered claims, each of its type.
#[derive(Default)]
struct Registered {
    issuer: Option<Span>,
    subject: Option<Span>,
    jwt_id: Option<Span>,
    client_id: Option<Span>,
    token_use: Option<Span>,
    typ: Option<Span>,
    expires_at: Option<NumericDate>,
    not_before: Option<NumericDate>,
    issued_at: Option<NumericDate>,
    audience: Option<Place>,
    scope: Option<Place>,
    scp: Option<Place>,
    confirmation: Option<Confirmation>,
}

impl Registered {
    /// The name of the first claim that is of the wrong type, if there is one.
    fn read(&mut self, object: &Object) -> Result<(), &'static str> {
        let mut claims = object.members().iter().filter(|(_, element)| element.value() != Value::Null);
        claims.try_for_each(|(name, element)| self.claim(name, element))
    }

    fn claim(&mut self, name: &str, element: Element<'_>) -> Result<(), &'static str> {
        match name {
            "iss" => self.issuer = Some(text(element).ok_or("iss")?),
            "sub" => self.subject = Some(text(element).ok_or("sub")?),
            "jti" => self.jwt_id = Some(text(element).ok_or("jti")?),
            "client_id" => self.client_id = Some(text(element).ok_or("client_id")?),
            "token_use" => self.token_use = Some(text(element).ok_or("token_use")?),
            "typ" => self.typ = text(element),
            "exp" if self.expires_at.is_some() => {}
            "exp" => self.expires_at = Some(date(element).ok_or("exp")?),
            "nbf" => self.not_before = Some(date(element).ok_or("nbf")?),
            "iat" => self.issued_at = Some(date(element).ok_or("iat")?),
            "aud" => self.audience = Some(texts(element).ok_or("aud")?).filter(|_| !is_empty_array(element)),
            "scope" => self.scope = Some(texts(element).ok_or("scope")?),
            "scp" => self.scp = Some(texts(element).ok_or("scp")?),
            "cnf" => self.confirmation = Some(confirmation(element)),
            _ => {}
        }
        Ok(())
    }

    fn scope(&self) -> Option<Place> {
        self.scope.or(self.scp)
    }
}

fn text(element: Element<'_>) -> Option<Span> {
    match element.value() {
        Value::Text(span) => Some(span),
        _ => None,
    }
}

fn date(element: Element<'_>) -> Option<NumericDate> {
    NumericDate::new(element.as_number()?)
}

/// A text, or an array of nothing but texts.
fn texts(element: Element<'_>) -> Option<Place> {
    let listed = element.elements().is_some_and(|mut elements| elements.all(|element| element.as_str().is_some()));
    (listed || element.as_str().is_some()).then_some(element.at())
}

fn is_empty_array(element: Element<'_>) -> bool {
    element.elements().is_some_and(|mut elements| elements.next().is_none())
}

/// No form of `cnf` is an error here: one that is not understood still says that the token is bound to something.
fn confirmation(element: Element<'_>) -> Confirmation {
    let member = |name| element.members().and_then(|members| members.get(name)).and_then(text);
    let certificate_alone = element.members().is_some_and(|members| members.iter().count() == 1);
    Confirmation { key_thumbprint: member("jkt"), certificate_thumbprint: member("x5t#S256"), certificate_alone }
}

/// 9999-12-31T23:59:59Z, the last second that RFC 3339 can write. Platforms differ beyond it, not before.
const MAX_DATE: Duration = Duration::from_secs(253_402_300_799);

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &str) -> Result<ClaimSet, ClaimsProblem> {
        ClaimSet::parse(raw.to_owned())
    }

    fn with(name: &str, value: &str) -> Result<ClaimSet, ClaimsProblem> {
        parse(&format!(r#"{{"{name}":{value}}}"#))
    }

    #[test]
    fn a_registered_claim_of_the_wrong_type_is_never_absent() {
        let texts = ["true", "1", "[]", "[\"x\"]", "{}", "1e400"];
        let dates = ["true", "\"1\"", "[]", "{}", "[1]"];
        let lists = ["true", "1", "{}", "[1]", "[\"x\",1]", "[null]", "[[\"x\"]]", "[{}]", "1e400"];
        for (names, wrong) in [
            (&["iss", "sub", "jti", "client_id", "token_use"][..], &texts[..]),
            (&["exp", "nbf", "iat"], &dates),
            (&["aud", "scope", "scp"], &lists),
        ] {
            for name in names {
                for value in wrong {
                    assert_eq!(with(name, value).err(), Some(ClaimsProblem::Claim(name)), "{name}: {value}");
                }
            }
        }
        assert!(with("scope", "[]").is_ok() && with("scp", "[]").is_ok());
    }

    #[test]
    fn a_claim_that_is_null_counts_as_absent_and_so_does_an_empty_list_of_audiences() {
        let names = ["iss", "sub", "jti", "client_id", "token_use", "exp", "nbf", "iat", "aud", "scope", "scp", "cnf"];
        let nulls: Vec<String> = names.iter().map(|name| format!("\"{name}\":null")).collect();
        for raw in [format!("{{{}}}", nulls.join(",")), r#"{"aud":[]}"#.to_owned()] {
            let claims = parse(&raw).unwrap();
            assert!(claims.issuer().or(claims.subject()).or(claims.jwt_id()).is_none(), "{raw}");
            assert!(claims.client_id().or(claims.token_use()).or(claims.scope()).is_none(), "{raw}");
            assert!(claims.expires_at().or(claims.not_before()).or(claims.issued_at()).is_none(), "{raw}");
            assert!(claims.audiences().is_none() && claims.audience().is_none(), "{raw}");
            assert!(!claims.is_sender_constrained(), "{raw}");
        }
        assert!(parse(r#"{"scope":null,"scp":"a"}"#).unwrap().has_scope("a"));
        assert_eq!(with("aud", "[null]").err(), Some(ClaimsProblem::Claim("aud")));
    }

    #[test]
    fn bad_json_is_malformed_even_behind_a_wrong_type() {
        for raw in [
            "",
            "null",
            "[]",
            "\"x\"",
            r#"{"iss":1"#,
            r#"{"iss":1,"a":1,"a":2}"#,
            r#"{"exp":"x","b":{"c":1,"c":2}}"#,
            "\u{feff}{}",
        ] {
            assert_eq!(parse(raw).err(), Some(ClaimsProblem::NotAnObject), "{raw}");
        }
        assert_eq!(
            ClaimSet::from_bytes(vec![b'{', b'"', 0xff, b'"', b':', b'1', b'}']).err(),
            Some(ClaimsProblem::NotAnObject)
        );
    }

    #[test]
    fn a_date_lies_between_1970_and_9999() {
        for (value, seconds, nanos) in [
            ("0", 0, 0),
            ("-0", 0, 0),
            ("-0.0", 0, 0),
            ("0.5", 0, 500_000_000),
            ("1.8e9", 1_800_000_000, 0),
            ("1800000000.25", 1_800_000_000, 250_000_000),
            ("253402300799", 253_402_300_799, 0),
            ("253402300799.0", 253_402_300_799, 0),
        ] {
            let date = with("exp", value).unwrap().expires_at().unwrap();
            assert_eq!(date.since_epoch(), Duration::new(seconds, nanos), "{value}");
            assert_eq!(date.time(), UNIX_EPOCH + Duration::new(seconds, nanos), "{value}");
        }
        for value in [
            "-1",
            "-0.5",
            "-1e-300",
            "253402300800",
            "253402300799.5",
            "253402300800.0",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551615",
            "18446744073709551616",
            "1e18",
            "1e300",
            "1e400",
            "-1e400",
            "1e99999999999",
        ] {
            for name in ["exp", "nbf", "iat"] {
                assert_eq!(with(name, value).err(), Some(ClaimsProblem::Claim(name)), "{name}: {value}");
            }
        }
    }

    #[test]
    fn a_number_beyond_a_double_is_allowed_where_nobody_reads_it() {
        let claims = parse(r#"{"iss":"i","big":1e400,"x":"y"}"#).unwrap();
        assert_eq!((claims.issuer(), claims.get_str("x")), (Some("i"), Some("y")));
        assert_eq!(claims.raw_json(), r#"{"iss":"i","big":1e400,"x":"y"}"#);
    }

    #[test]
    fn every_registered_claim_is_read() {
        let claims = parse(
            r#"{"iss":"i","sub":"s","jti":"j","client_id":"c","token_use":"access","aud":"a","exp":3,"nbf":1,"iat":2,"scope":"x y"}"#,
        )
        .unwrap();
        let texts = [
            claims.issuer(),
            claims.subject(),
            claims.jwt_id(),
            claims.client_id(),
            claims.token_use(),
            claims.scope(),
        ];
        assert_eq!(texts, [Some("i"), Some("s"), Some("j"), Some("c"), Some("access"), Some("x y")]);
        assert_eq!(claims.audience().unwrap(), ["a"]);
        let dates = [claims.expires_at(), claims.not_before(), claims.issued_at()];
        assert_eq!(dates.map(|date| date.unwrap().since_epoch().as_secs()), [3, 1, 2]);
        let none = parse("{}").unwrap();
        assert!(
            none.issuer().is_none()
                && none.audience().is_none()
                && none.scope().is_none()
                && none.expires_at().is_none()
        );
    }

    #[test]
    fn names_and_values_are_compared_decoded() {
        let claims = parse(r#"{"\u0069ss":"\u0061\ud83d\ude00","aud":["\u0061","b"]}"#).unwrap();
        assert_eq!(claims.issuer(), Some("a😀"));
        assert_eq!(claims.audience().unwrap(), ["a", "b"]);
    }

    #[test]
    fn scopes_are_separated_by_the_space_and_by_nothing_else() {
        let scopes = |name: &str, value: &str| -> Vec<String> {
            with(name, value).unwrap().scopes().map(str::to_owned).collect()
        };
        for name in ["scope", "scp"] {
            assert_eq!(scopes(name, r#""a b""#), ["a", "b"]);
            assert_eq!(scopes(name, r#""  a   b ""#), ["a", "b"]);
            assert_eq!(scopes(name, r#""a\tb\nc\u00a0d,e""#), ["a\tb\nc\u{a0}d,e"]);
            assert_eq!(scopes(name, r#""""#), [""; 0]);
            assert_eq!(scopes(name, r#"["a","b c",""]"#), ["a", "b c"]);
            assert_eq!(with(name, r#"["a","b"]"#).unwrap().scope(), Some("a b"));
            assert_eq!(with(name, r#"[]"#).unwrap().scope(), Some(""));
        }
    }

    #[test]
    fn scp_counts_where_there_is_no_scope() {
        let claims = parse(r#"{"scp":["c"],"scope":"a b"}"#).unwrap();
        assert!(claims.has_scope("a") && !claims.has_scope("c") && !claims.has_scope("a b") && !claims.has_scope(""));
        assert!(parse(r#"{"scp":"c"}"#).unwrap().has_scope("c"));
    }

    #[test]
    fn a_confirmation_is_seen_in_any_form() {
        for value in ["{}", "1", "\"x\"", "[]", r#"{"jkt":1}"#] {
            let claims = with("cnf", value).unwrap();
            assert!(claims.is_sender_constrained(), "{value}");
            assert_eq!((claims.key_thumbprint(), claims.certificate_thumbprint()), (None, None), "{value}");
        }
        let claims = with("cnf", r#"{"jkt":"k","x5t#S256":"c"}"#).unwrap();
        assert_eq!((claims.key_thumbprint(), claims.certificate_thumbprint()), (Some("k"), Some("c")));
        assert!(!parse(r#"{"a":{"cnf":{}}}"#).unwrap().is_sender_constrained());
    }

    #[test]
    fn debug_shows_no_claim() {
        assert_eq!(format!("{:?}", with("sub", "\"somebody\"").unwrap()), "ClaimSet(..)");
    }
}
