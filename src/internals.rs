//! The one door to the crate's own modules, for its benches, its fuzz targets and its in-process tests.
//!
//! Each module here bears the name of the crate's and re-exports what those programs use, and no more. Nothing of it
//! is stable: it changes with the code behind it, in any release. What others may build on is the program's command
//! line ([`cli`](crate::cli)) and the protocol that it speaks.

pub mod app {
    pub use crate::app::App;
}

pub mod auth {
    pub use crate::auth::{Basis, Facts, Verdict, decide};

    pub mod identity {
        pub use crate::auth::identity::{Identity, verify, verify_by};
    }

    pub mod payload {
        pub use crate::auth::payload::{Payload, Version};
    }

    pub mod policy {
        pub use crate::auth::policy::{Bearer, Bootstrap, Shared};
    }

    pub mod prepared {
        pub use crate::auth::prepared::PreparedKey;
    }
}

pub mod cli {
    pub use crate::cli::main_as;
}

pub mod clock {
    pub use crate::clock::Clock;
}

pub mod config {
    pub use crate::config::{
        AuthMode, Bind, ConfigError, Env, Flags, KeyPath, Kind, Paths, Refused, RevokeOnRotate, Secret,
        Settings, Source, StartError,
    };

    pub mod change {
        pub mod merge {
            pub use crate::config::change::merge::{at, with};
        }

        pub mod write {
            pub use crate::config::change::write::{WriteOptions, WriteTarget, Written, write};
        }
    }

    pub mod credentials {
        pub mod dotenv {
            pub use crate::config::credentials::dotenv::parse;
        }
    }

    pub mod keys {
        pub use crate::config::keys::effect;
    }

    pub mod lint {
        pub use crate::config::lint::{Rule, shrunk};
    }

    pub mod settings {
        pub mod first_run {
            pub use crate::config::settings::first_run::NotStored;
        }

        pub mod load {
            pub use crate::config::settings::load::load;
        }
    }

    pub mod text {
        pub mod edit {
            pub use crate::config::text::edit::edited;
        }

        pub mod file {
            pub use crate::config::text::file::{Document, value};
        }

        pub mod node {
            pub use crate::config::text::node::Node;
        }
    }
}

pub mod gateway {
    pub use crate::gateway::Gateway;
}

pub mod handoff {
    pub use crate::handoff::{DamagedState, STATE_FORMAT, State, StateFormat, section_names};
}

pub mod hub {
    pub use crate::hub::{Audience, SavedConn, SavedPending, Stage};
}

pub mod journal {
    pub use crate::journal::Journal;
}

pub mod net {
    pub use crate::net::Wire;

    pub mod http {
        pub use crate::net::http::Beginning;
    }

    pub mod message {
        pub use crate::net::message::{Message, ReadError, Scan, Side};
    }
}

pub mod outbound {
    pub use crate::outbound::{
        Body, DialError, Limits, RequestError, TlsError, Url, WebSocketError, open_wire,
    };

    pub mod http {
        pub use crate::outbound::http::{Answer, Connection, request};
    }

    pub mod websocket {
        pub use crate::outbound::websocket::WebSocket;
    }
}

pub mod protocol {
    pub use crate::protocol::{
        BadFrame, Connect, ErrorCode, ErrorShape, Event, Fields, Json, Params, PublicKey, RequestFrame,
        RequestId, Role, Scope, Scopes, TokenHash, base64url_decode, base64url_encode, hex, raw_member,
        refusal, response,
    };
}

pub mod reactor {
    pub use crate::reactor::{Async, block_on};
}

pub mod store {
    pub use crate::store::{
        Access, ChangeError, Device, DiskError, Display, GRACE_MS, Grant, Node, NodeRequest, Notice,
        OpenError, Registry, Request, SETUP_CODE_MS, SetupCode, Store, Surface, Tombstone, Via,
    };

    pub mod atomic {
        pub use crate::store::atomic::replace;
    }

    pub mod codec {
        pub use crate::store::codec::{FORMAT, decode, encode, seal};
    }
}

pub mod tls {
    pub use crate::tls::{Certificate, Files, Secured, Trust, Validity, secure};
}
