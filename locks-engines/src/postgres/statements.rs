//! The statements of the steps: prepared, or sent with their text each time.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row, Statement};

use super::schema::Schema;

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Claim,
    End,
    Renew,
    List,
}

/// A value that a step is called with.
pub(super) type Value = Box<dyn ToSql + Sync + Send>;

const STEPS: [Step; 4] = [Step::Claim, Step::End, Step::Renew, Step::List];

/// The texts, with the schema's name.
pub(super) struct Texts([String; STEPS.len()]);

/// The statements, prepared by one connection.
pub(super) struct Statements(Vec<Statement>);

impl Step {
    fn text(self) -> &'static str {
        match self {
            Step::Claim => {
                "SELECT {schema}.claim_{v}($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
            }
            Step::End => "SELECT {schema}.end_{v}($1, $2, $3, $4, $5)",
            Step::Renew => "SELECT {schema}.renew_{v}($1, $2, $3, $4, $5)",
            Step::List => "SELECT * FROM {schema}.list_{v}($1, $2)",
        }
    }

    fn types(self) -> &'static [Type] {
        const CLAIM: &[Type] = &[
            Type::TEXT_ARRAY,
            Type::TEXT,
            Type::TEXT,
            Type::INT8,
            Type::TEXT,
            Type::INT8,
            Type::INT8,
            Type::INT8,
            Type::INT8,
            Type::INT8,
            Type::INT8,
            Type::INT8,
            Type::BOOL,
            Type::BOOL,
            Type::INT8,
        ];
        const END: &[Type] = &[Type::TEXT_ARRAY, Type::TEXT, Type::TEXT, Type::INT4, Type::INT8];
        const RENEW: &[Type] = &[
            Type::TEXT_ARRAY,
            Type::INT8_ARRAY,
            Type::BOOL_ARRAY,
            Type::INT4_ARRAY,
            Type::TEXT_ARRAY,
        ];
        const LIST: &[Type] = &[Type::TEXT, Type::TEXT];
        match self {
            Step::Claim => CLAIM,
            Step::End => END,
            Step::Renew => RENEW,
            Step::List => LIST,
        }
    }
}

impl Texts {
    pub(super) fn new(schema: &Schema) -> Self {
        Self(STEPS.map(|step| schema.fill(step.text())))
    }
}

impl Statements {
    pub(super) async fn prepare(client: &Client, texts: &Texts) -> Result<Self, Error> {
        let mut statements = Vec::new();
        for step in STEPS {
            let text = &texts.0[step as usize];
            statements.push(client.prepare_typed(text, step.types()).await?);
        }
        Ok(Self(statements))
    }
}

/// Carries a step out, in one round trip.
pub(super) async fn call(
    client: &Client,
    texts: &Texts,
    statements: Option<&Statements>,
    step: Step,
    values: &[Value],
) -> Result<Vec<Row>, Error> {
    let values = values.iter().map(|value| &**value as &(dyn ToSql + Sync));
    match statements {
        Some(statements) => {
            let values: Vec<_> = values.collect();
            client.query(&statements.0[step as usize], &values).await
        }
        None => {
            let values: Vec<_> = values.zip(step.types().iter().cloned()).collect();
            client.query_typed(&texts.0[step as usize], &values).await
        }
    }
}
