#![doc = include_str!("../docs/guide/guide.md")]

pub mod decisions;

pub mod threaded_server {
    #![doc = include_str!("../docs/guide/threaded_server.md")]
}

pub mod gateways {
    #![doc = include_str!("../docs/guide/gateways.md")]
}

pub mod build_scripts {
    #![doc = include_str!("../docs/guide/build_scripts.md")]
}

pub mod plugins {
    #![doc = include_str!("../docs/guide/plugins.md")]
}

pub mod client_authentication {
    #![doc = include_str!("../docs/guide/client_authentication.md")]
}

pub mod testing {
    #![doc = include_str!("../docs/guide/testing.md")]
}

pub mod errors {
    #![doc = include_str!("../docs/guide/errors.md")]
}

pub mod outages {
    #![doc = include_str!("../docs/guide/outages.md")]
}

pub mod limits {
    #![doc = include_str!("../docs/guide/limits.md")]
}

pub mod introspection {
    #![doc = include_str!("../docs/guide/introspection.md")]
}

pub mod many_tenants {
    #![doc = include_str!("../docs/guide/many_tenants.md")]
}

pub mod sender_constrained {
    #![doc = include_str!("../docs/guide/sender_constrained.md")]
}

pub mod explain {
    #![doc = include_str!("../docs/guide/explain.md")]
}

pub mod security_model {
    #![doc = include_str!("../docs/guide/security_model.md")]
}

pub mod from_typescript {
    #![doc = include_str!("../docs/guide/from_typescript.md")]
}
