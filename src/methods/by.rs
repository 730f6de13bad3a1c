//! Who calls a method: a client by its connection, or an agent of this gateway.

use super::need;
use crate::{
    auth::Caller,
    hub::{Conn, ConnId},
    protocol::{ErrorShape, Role, Scope},
};
use std::rc::Rc;

/// The caller of a method.
#[derive(Clone)]
pub(crate) enum By {
    /// A client.
    Conn(Rc<Conn>),
    /// An agent, by one of its tools. It acts for the owner of this gateway: which tools it has is decided before.
    Agent,
}

impl By {
    /// Role of the caller.
    pub(super) fn role(&self) -> Role {
        match self {
            Self::Conn(conn) => conn.role(),
            Self::Agent => Role::Operator,
        }
    }

    /// The caller, where it asks to see or change devices.
    pub(super) fn caller(&self) -> Caller {
        match self {
            Self::Conn(conn) => conn.caller(),
            Self::Agent => Caller::host(),
        }
    }

    /// Whether it is an operator with `scope`.
    pub(super) fn allows(&self, scope: Scope) -> bool {
        match self {
            Self::Conn(conn) => conn.allows(scope),
            Self::Agent => true,
        }
    }

    /// Asks the caller for `scope`; the refusal says how it is obtained.
    pub(super) fn need(&self, scope: Scope) -> Result<(), ErrorShape> {
        match self {
            Self::Conn(conn) => need(conn, scope),
            Self::Agent => Ok(()),
        }
    }

    /// The words a log line calls it by.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Conn(conn) => conn.session().name().to_string(),
            Self::Agent => "an agent".into(),
        }
    }

    /// Id of its connection; an agent's is no connection's.
    pub(super) fn id(&self) -> ConnId {
        match self {
            Self::Conn(conn) => conn.id(),
            Self::Agent => ConnId { boot: 0, number: 0 },
        }
    }

    /// Its connection.
    ///
    /// # Errors
    /// It has none.
    pub(super) fn conn(&self) -> Result<&Rc<Conn>, ErrorShape> {
        match self {
            Self::Conn(conn) => Ok(conn),
            Self::Agent => {
                Err(ErrorShape::invalid("this is for clients with a connection, which an agent has not"))
            }
        }
    }
}
