#![doc = include_str!("../../docs/guide/decisions/decisions.md")]

pub mod ring {
    #![doc = include_str!("../../docs/guide/decisions/ring.md")]
}

pub mod hifijson {
    #![doc = include_str!("../../docs/guide/decisions/hifijson.md")]
}

pub mod no_background_thread {
    #![doc = include_str!("../../docs/guide/decisions/no_background_thread.md")]
}

pub mod strict_json {
    #![doc = include_str!("../../docs/guide/decisions/strict_json.md")]
}

pub mod ureq {
    #![doc = include_str!("../../docs/guide/decisions/ureq.md")]
}

pub mod token_file {
    #![doc = include_str!("../../docs/guide/decisions/token_file.md")]
}

pub mod own_test_server {
    #![doc = include_str!("../../docs/guide/decisions/own_test_server.md")]
}

pub mod defaults {
    #![doc = include_str!("../../docs/guide/decisions/defaults.md")]
}
