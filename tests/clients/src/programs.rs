//! The clients: what they are, and where their programs are.

/// A client of Daraja, and the program that makes its calls.
#[derive(Debug)]
pub(crate) struct Program {
    /// Name in its registry.
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) language: Language,
    /// How it is pointed at the simulator.
    pub(crate) base_url: &'static str,
}

/// What runs the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// `python/{name}.py`, with `python/requirements/{name}.txt` from PyPI.
    Python,
    /// `node/{name}.js`, with `node/package-lock.json` from npm.
    Node,
    /// `rust/src/bin/{name}.rs`, with `rust/Cargo.lock` from crates.io.
    Rust,
}

#[rustfmt::skip]
pub(crate) const PROGRAMS: [Program; 11] = [
    Program { name: "daraja-v3", version: "0.2.1", language: Language::Python, base_url: "`MpesaClient(…, base_url=url)`" },
    Program { name: "noriapay", version: "0.1.1", language: Language::Python, base_url: "`base_url=url`" },
    Program { name: "mpesakit", version: "2.2.0", language: Language::Python, base_url: "`client.http_client.base_url = url`" },
    Program { name: "daraja-sdk-py", version: "2.0.0", language: Language::Python, base_url: "`daraja.environment.SANDBOX_BASE_URL = url`" },
    Program { name: "mpesa-sdk", version: "2.0.0", language: Language::Python, base_url: "`mpesa_sdk.urls.SANDBOX_BASE_URL = url`" },
    Program { name: "django-daraja", version: "1.3.0", language: Language::Python, base_url: "its function `api_base_url`" },
    Program { name: "daraja-sdk", version: "0.1.0", language: Language::Python, base_url: "URL constants in `auth.py` and `stk.py`" },
    Program { name: "mpesa-node", version: "0.1.3", language: Language::Node, base_url: "`mpesa.baseURL = url`" },
    Program { name: "daraja.js", version: "1.0.2", language: Language::Node, base_url: "`mpesa._http.baseUrl = url`" },
    Program { name: "mpesa", version: "1.1.0", language: Language::Rust, base_url: "its trait `ApiEnvironment`" },
    Program { name: "async-mpesa", version: "0.3.0", language: Language::Rust, base_url: "its trait `Config`" },
];
