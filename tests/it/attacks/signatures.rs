//! Attacks on the signature itself. The arithmetic is ring's; what it does at the edges is written down here.

use aero2::TokenErrorKind::{BadSignature, UnfitKey};
use ring::digest;
use ring::signature::{ED25519, UnparsedPublicKey};

use super::Attack;
use super::forge::number::{add, cube, cube_root, is_less, multiply, padded, subtract, trim};
use super::forge::{
    self, CLAIMS, attackers_key, claiming, claims_with, ed_members, header, members, rsa_members, rsa_numbers, set,
    sign, signed, token, unb64,
};

/// DigestInfo of SHA-256 up to the digest (RFC 8017 §9.2, note 1).
pub(super) const SHA256_INFO: [u8; 19] =
    [0x30, 0x31, 0x30, 13, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20];

/// A good token of that algorithm with another signature.
fn resigned(algorithm: &str, change: impl Fn(Vec<u8>) -> Vec<u8>) -> String {
    token(header(algorithm, kid(algorithm)), CLAIMS, |input| change(sign(algorithm, input)))
}

fn kid(algorithm: &str) -> &'static str {
    match algorithm {
        "ES256" => "p256",
        "ES384" => "p384",
        "EdDSA" => "ed",
        _ => "rsa",
    }
}

type Change = (&'static str, fn(Vec<u8>) -> Vec<u8>);

const ALL: [&str; 9] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

#[test]
fn a_signature_of_another_length_or_with_any_bit_changed_is_refused() {
    let attack = Attack::new();
    for algorithm in ALL {
        let changes: Vec<Change> = vec![
            ("a byte less", |s| s[..s.len() - 1].to_vec()),
            ("a byte less in front", |s| s[1..].to_vec()),
            ("a zero behind", |s| [&s[..], &[0]].concat()),
            ("a zero in front", |s| [&[0], &s[..]].concat()),
            ("half of it", |s| s[..s.len() / 2].to_vec()),
            ("twice", |s| s.repeat(2)),
            ("one byte", |_| vec![0]),
            ("zeros", |s| vec![0; s.len()]),
            ("ones", |s| vec![0xff; s.len()]),
            ("the number one", |s| [vec![0; s.len() - 1], vec![1]].concat()),
            ("backwards", |s| s.into_iter().rev().collect()),
        ];
        for (name, change) in changes {
            attack.row(&format!("{algorithm}, {name}"), &resigned(algorithm, change), BadSignature);
        }
        let len = unb64(resigned(algorithm, |s| s).rsplit('.').next().unwrap()).len();
        for at in [0, 1, len / 2 - 1, len / 2, len - 2, len - 1] {
            for bit in [0, 7] {
                let flipped = resigned(algorithm, |mut s| {
                    s[at] ^= 1 << bit;
                    s
                });
                attack.row(&format!("{algorithm}, bit {bit} of byte {at}"), &flipped, BadSignature);
            }
        }
    }
}

#[test]
fn a_signature_of_another_token_or_of_another_key_is_refused() {
    let attack = Attack::new();
    let other = claiming(claims_with("sub", Some(r#""admin""#)));
    let (input, _) = other.rsplit_once('.').unwrap();
    let good = forge::good();
    let (_, signature) = good.rsplit_once('.').unwrap();
    attack.row("moved to other claims", &format!("{input}.{signature}"), BadSignature);
    let moved = token(r#"{"kid":"ed","alg":"EdDSA"}"#, CLAIMS, |_| unb64(signature));
    attack.row("moved to another header", &moved, BadSignature);
    let stranger = token(header("EdDSA", "ed"), CLAIMS, |input| attackers_key().sign(input).as_ref().to_vec());
    attack.row("an attacker's key", &stranger, BadSignature);
    let undotted = token(header("EdDSA", "ed"), CLAIMS, |input| {
        sign("EdDSA", &input.iter().copied().filter(|byte| *byte != b'.').collect::<Vec<_>>())
    });
    attack.row("signed without the dot", &undotted, BadSignature);
    let decoded = token(header("EdDSA", "ed"), CLAIMS, |_| sign("EdDSA", CLAIMS.as_bytes()));
    attack.row("signed decoded", &decoded, BadSignature);
}

#[test]
fn a_padding_or_digest_of_one_rsa_algorithm_is_none_of_another() {
    let attack = Attack::new();
    let rsa = &ALL[..6];
    for claimed in rsa {
        for made in rsa.iter().filter(|made| *made != claimed) {
            let token = token(header(claimed, "rsa"), CLAIMS, |input| sign(made, input));
            attack.row(&format!("{made} under {claimed}"), &token, BadSignature);
        }
    }
}

/// ring compares the signature with n and takes only what is smaller, in exactly n's length.
#[test]
fn an_rsa_signature_not_below_the_modulus_is_refused() {
    let attack = Attack::new();
    let (n, _) = rsa_numbers();
    for (name, number) in [("n", n.clone()), ("n - 1", subtract(&n, &[1])), ("n + 1", add(&n, &[1]))] {
        attack.row(name, &resigned("RS256", |_| number.clone()), BadSignature);
    }
    // Not every s + n has room in 2048 bits, so a payload is looked for whose has.
    let sums = (0..1000).map(|n_th| {
        let claims = claims_with("jti", Some(&format!("\"{n_th}\"")));
        token(header("RS256", "rsa"), claims, |input| add(&sign("RS256", input), &n))
    });
    let wrapped = sums.into_iter().find(|token| unb64(token.rsplit('.').next().unwrap()).len() == 256).unwrap();
    attack.row("s + n, the same number modulo n", &wrapped, BadSignature);
    let longer = resigned("RS256", |s| padded(&add(&multiply(&n, &[0xff, 0xff]), &s), 260));
    attack.row("s + 65535 n", &longer, BadSignature);
}

/// With e = 3 and a verifier that reads the padding rather than comparing the whole, anybody can sign: a cube root needs no private
/// key. CVE-2006-4339.
#[test]
fn a_cube_root_is_no_signature() {
    let (n, _) = rsa_numbers();
    let forged = token(header("RS256", "k"), CLAIMS, |input| {
        let digest = digest::digest(&digest::SHA256, input);
        let start =
            [&[0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0][..], &SHA256_INFO, digest.as_ref()].concat();
        let root = cube_root(&[&start[..], &vec![0; 256 - start.len()]].concat());
        let cube = padded(&cube(&root), 256);
        assert!(is_less(&cube, &n) && cube.starts_with(&start), "the forgery is well made");
        padded(&root, 256)
    });
    Attack::on(&set([format!(r#""kid":"k",{}"#, rsa_members(&n, &[3]))])).row("e = 3", &forged, BadSignature);
}

/// CVE-2022-21449 for r = s = 0.
#[test]
fn ecdsa_numbers_out_of_range_are_refused() {
    let attack = Attack::new();
    for (algorithm, order) in [("ES256", ORDER_P256), ("ES384", ORDER_P384)] {
        let order = hex(order);
        let len = order.len();
        let zero = vec![0; len];
        let one = padded(&[1], len);
        let above = padded(&add(&order, &[1]), len);
        let last = subtract(&order, &[1]);
        let halves = |s: &[u8]| (s[..len].to_vec(), s[len..].to_vec());
        for (name, r, s) in [
            ("r = s = 0", Some(&zero), Some(&zero)),
            ("r = 0", Some(&zero), None),
            ("s = 0", None, Some(&zero)),
            ("r = n", Some(&order), None),
            ("s = n", None, Some(&order)),
            ("r = s = n", Some(&order), Some(&order)),
            ("r = n + 1", Some(&above), None),
            ("s = n + 1", None, Some(&above)),
            ("r = s = 1", Some(&one), Some(&one)),
            ("r = 1", Some(&one), None),
            ("r = s = n - 1", Some(&last), Some(&last)),
            ("r = n, s = 0", Some(&order), Some(&zero)),
        ] {
            let changed = resigned(algorithm, |signature| {
                let (own_r, own_s) = halves(&signature);
                [r.unwrap_or(&own_r).clone(), s.unwrap_or(&own_s).clone()].concat()
            });
            attack.row(&format!("{algorithm}, {name}"), &changed, BadSignature);
        }
        let swapped = resigned(algorithm, |signature| [&signature[len..], &signature[..len]].concat());
        attack.row(&format!("{algorithm}, r and s swapped"), &swapped, BadSignature);
        let der = resigned(algorithm, |signature| {
            let integer = |n: &[u8]| {
                let n = trim(n);
                let sign = if n[0] & 0x80 == 0 { Vec::new() } else { vec![0] };
                let value = [sign, n].concat();
                [&[2, u8::try_from(value.len()).unwrap()], &value[..]].concat()
            };
            let (r, s) = halves(&signature);
            let body = [integer(&r), integer(&s)].concat();
            [&[0x30, u8::try_from(body.len()).unwrap()], &body[..]].concat()
        });
        attack.row(&format!("{algorithm}, DER"), &der, BadSignature);
        // RFC 7518 asks for no canonical s, and ring for none: (r, n - s) is the same signature in another text. Whoever cannot sign
        // cannot change a single claim by it; whoever keeps lists of tokens keeps them by `jti`, not by text.
        let mirrored = resigned(algorithm, |signature| {
            let (r, s) = halves(&signature);
            [r, subtract(&order, &s)].concat()
        });
        attack.accepted(&format!("{algorithm}, (r, n - s)"), &mirrored);
    }
}

/// RFC 8032 §5.1.7: ring takes S below the group's order only, and compares R byte for byte with what it computed.
#[test]
fn an_ed25519_scalar_that_is_not_canonical_is_refused() {
    let attack = Attack::new();
    let mut order = hex(ORDER_ED25519);
    for times in 1..=14_u8 {
        let added = resigned("EdDSA", |signature| {
            let s: Vec<u8> = signature[32..].iter().rev().copied().collect();
            let sum = padded(&add(&s, &multiply(&order, &[times])), 32);
            [&signature[..32], &sum.into_iter().rev().collect::<Vec<_>>()].concat()
        });
        attack.row(&format!("S + {times} L"), &added, BadSignature);
    }
    order.reverse();
    for (name, s) in [("S = L", &order[..]), ("S = 0", &[0; 32]), ("S = 2^256 - 1", &[0xff; 32])] {
        let changed = resigned("EdDSA", |signature| [&signature[..32], s].concat());
        attack.row(name, &changed, BadSignature);
    }
    for point in SMALL_ORDER {
        let changed = resigned("EdDSA", |signature| [&hex(point), &signature[32..]].concat());
        attack.row(&format!("R = {point}"), &changed, BadSignature);
    }
}

/// To a key of small order many a signature fits that nobody made; ring's verification takes such keys, so they are refused when the
/// key set is read.
#[test]
fn an_ed25519_key_of_small_order_is_unfit() {
    for point in SMALL_ORDER {
        for sign_bit in [0, 0x80] {
            let mut key = hex(point);
            key[31] ^= sign_bit;
            let attack = Attack::on(&set([format!(r#""kid":"k",{}"#, ed_members(&key))]));
            attack.row(point, &signed(&header("EdDSA", "k"), CLAIMS), UnfitKey);
            for r in SMALL_ORDER {
                let forged = token(header("EdDSA", "k"), CLAIMS, |_| [hex(r), vec![0; 32]].concat());
                attack.row(&format!("{point}, R = {r}, S = 0"), &forged, UnfitKey);
            }
        }
    }
    let identity = hex(SMALL_ORDER[1]);
    let forged = [&identity[..], &[0; 32]].concat();
    let outcome = UnparsedPublicKey::new(&ED25519, &identity).verify(b"whatever anybody likes", &forged);
    assert!(outcome.is_ok(), "ring does not take keys of small order any more: say so above");
    Attack::on(&set([format!(r#""kid":"k",{}"#, members("ed"))]))
        .accepted("ours", &signed(&header("EdDSA", "k"), CLAIMS));
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

const ORDER_P256: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
const ORDER_P384: &str =
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973";
const ORDER_ED25519: &str = "1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed";

/// Every encoding of a point whose order divides 8, canonical or not, but for the sign bit.
const SMALL_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];
