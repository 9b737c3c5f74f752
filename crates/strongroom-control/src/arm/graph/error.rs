/// Why a query is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QueryError {
    /// Shorten it.
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
    /// Nest less.
    #[error("it nests too deep")]
    TooDeep,
    /// A text, a bracket or a number does not end.
    #[error("what begins at byte {0} does not end")]
    Open(usize),
    /// Something stands where something else must stand.
    #[error("at byte {at}: {wanted} is expected")]
    Expected {
        /// Where.
        at: usize,
        /// What should stand there.
        wanted: &'static str,
    },
    /// It is Kusto, but not served here.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// There is no such table.
    #[error("there is no table called {0}")]
    NoTable(String),
    /// There is no such column at that point.
    #[error("failed to resolve scalar expression named '{0}'")]
    NoColumn(String),
    /// A function was given what it does not take.
    #[error("the arguments of {0} do not fit")]
    Arguments(String),
    /// It asks for more work than one query may.
    #[error("it takes more work than one query may; narrow it down")]
    TooCostly,
}

impl QueryError {
    /// For programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Unsupported(_) => "UnsupportedOperator",
            Self::TooCostly => "QueryTooCostly",
            Self::NoTable(_) | Self::NoColumn(_) => "SemanticFailure",
            _ => "ParserFailure",
        }
    }
}
