//! What each module may name. ARCHITECTURE.md says the same in words.

/// One module and what it may know.
pub struct Module {
    /// Folder or file below the repository's root.
    pub path: &'static str,
    /// Modules of the `steadfast` package that it may name.
    pub modules: &'static [&'static str],
    /// Other packages, `std` apart.
    pub crates: &'static [&'static str],
    /// Whether it is pure: no clock, socket, file, thread, hash order, randomness.
    pub pure: bool,
}

impl Module {
    /// Whether what only tests see counts too.
    pub fn is_for_tests(&self) -> bool {
        ["tests/", "examples", "src/forks.rs"]
            .iter()
            .any(|start| self.path.starts_with(start))
    }

    /// The name by which its own files call it from the root of the package; none where it is not
    /// directly below the root.
    pub fn own(&self) -> Option<&'static str> {
        let name = self.path.strip_prefix("src/")?;
        let name = name.strip_suffix(".rs").unwrap_or(name);
        (!name.contains('/') && !["lib", "main"].contains(&name)).then_some(name)
    }
}

pub const MODULES: &[Module] = &[
    Module {
        path: "src/types.rs",
        modules: &[],
        crates: &["serde"],
        pure: true,
    },
    Module {
        path: "src/record.rs",
        modules: &["types"],
        crates: &["serde"],
        pure: true,
    },
    Module {
        path: "src/seldom.rs",
        modules: &["types"],
        crates: &[],
        pure: true,
    },
    Module {
        path: "src/engine",
        modules: &["types", "record", "wire::frame", "meta", "member::io"],
        crates: &[],
        pure: true,
    },
    Module {
        path: "src/member",
        modules: &["types", "record"],
        crates: &["crc32fast", "postcard", "serde"],
        pure: true,
    },
    Module {
        path: "src/member/pulse",
        modules: &["types", "member::io"],
        crates: &[],
        pure: true,
    },
    Module {
        path: "src/meta",
        modules: &["types"],
        crates: &["crc32fast", "rustix", "serde"],
        pure: false,
    },
    Module {
        path: "src/wire",
        modules: &["types", "member::io"],
        crates: &["blake3", "crc32fast"],
        pure: true,
    },
    Module {
        path: "src/node.rs",
        modules: &["types", "record", "engine::io", "member::io"],
        crates: &[],
        pure: true,
    },
    Module {
        path: "src/uring",
        modules: &[
            "types",
            "engine",
            "member::io",
            "meta::recovered",
            "node",
            "seldom",
            "wire",
        ],
        crates: &[
            "crc32fast",
            "getrandom",
            "io_uring",
            "nbd_server",
            "rustix",
            "tracing",
        ],
        pure: false,
    },
    Module {
        path: "src/status",
        modules: &["types", "record", "member::io"],
        crates: &["config", "serde", "uuid"],
        pure: true,
    },
    Module {
        path: "src/api",
        modules: &["types", "record", "engine::io", "member::io", "status"],
        crates: &[
            "axum",
            "config",
            "futures_util",
            "http_body_util",
            "hyper",
            "hyper_util",
            "serde",
            "serde_json",
            "tokio",
            "tracing",
            "uuid",
        ],
        pure: false,
    },
    Module {
        path: "src/daemon",
        modules: &[
            "types",
            "record",
            "engine::io",
            "member",
            "meta",
            "wire",
            "node",
            "seldom",
            "uring",
            "status",
            "api",
        ],
        crates: &[
            "config",
            "getrandom",
            "rtrb",
            "rustix",
            "thread_priority",
            "tokio",
            "tracing",
        ],
        pure: false,
    },
    Module {
        path: "src/cli",
        modules: &["meta::report", "status", "api", "daemon"],
        crates: &[
            "anstyle",
            "clap",
            "clap_complete",
            "clap_mangen",
            "comfy_table",
            "config",
            "getrandom",
            "indicatif",
            "rustix",
            "serde",
            "serde_json",
            "tokio",
            "tracing_subscriber",
            "uuid",
        ],
        pure: false,
    },
    Module {
        path: "src/lib.rs",
        modules: &[],
        crates: &[],
        pure: true,
    },
    Module {
        path: "src/main.rs",
        modules: &["cli"],
        crates: &[],
        pure: false,
    },
    Module {
        path: "src/forks.rs",
        modules: &[],
        crates: &["tempfile"],
        pure: false,
    },
    Module {
        path: "nbd-server/src",
        modules: &[],
        crates: &[],
        pure: true,
    },
    Module {
        path: "fence/src",
        modules: &[],
        crates: &[],
        pure: true,
    },
    Module {
        path: "config/src",
        modules: &[],
        crates: &["serde", "toml", "uuid"],
        pure: false,
    },
    Module {
        path: "tests/sim",
        modules: &[
            "types", "record", "engine", "member", "meta", "wire", "node",
        ],
        crates: &["clap"],
        pure: false,
    },
    Module {
        path: "tests/cluster",
        modules: &[],
        crates: &["clap", "nbd", "rustix", "serde", "serde_json", "tempfile"],
        pure: false,
    },
    Module {
        path: "tests/bench",
        modules: &[],
        crates: &["clap", "comfy_table", "rustix", "serde_json", "tempfile"],
        pure: false,
    },
    Module {
        path: "tests/reactor",
        modules: &[
            "types",
            "record",
            "engine::io",
            "member::io",
            "meta::store",
            "node",
            "uring",
            "wire",
        ],
        crates: &[
            "crc32fast",
            "nbd",
            "tempfile",
            "tracing",
            "tracing_subscriber",
        ],
        pure: false,
    },
    Module {
        path: "tests/cli.rs",
        modules: &[],
        crates: &["tempfile"],
        pure: false,
    },
    Module {
        path: "tests/architecture",
        modules: &[],
        crates: &[],
        pure: false,
    },
    Module {
        path: "examples",
        modules: &[],
        crates: &[],
        pure: false,
    },
];
