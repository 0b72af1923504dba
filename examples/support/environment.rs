//! Settings from environment variables.

use std::env;

/// The values of these variables; the error names all that are missing, each with an example.
pub(crate) fn required<const N: usize>(variables: [(&str, &str); N]) -> Result<[String; N], String> {
    let values = variables.map(|(name, _)| env::var(name).unwrap_or_default());
    let missing = variables.iter().zip(&values).filter(|(_, value)| value.is_empty());
    let missing: Vec<String> =
        missing.map(|((name, example), _)| format!("  {name}, for example: {example}")).collect();
    if missing.is_empty() {
        return Ok(values);
    }
    Err(format!("these environment variables are not set:\n{}", missing.join("\n")))
}
