//! The tables that queries begin with: what the caller may read, and of it what the query looks at.

use serde_json::{Map, Value};
use strongroom_azure::ResourceId;

use super::Refusal;
use super::ast::{Compare, Expr, Operator, Query};
use super::error::QueryError;
use super::expression::Setting;
use super::fuel::Fuel;
use super::operators::Rowset;
use super::value::weight;
use super::wanted::Wanted;
use crate::arm::call::Call;
use crate::arm::fault::Fault;
use crate::arm::inventory::{Brief, GROUP, SUBSCRIPTION, Selection};
use crate::arm::visible::Visible;

/// The columns of every table, in Resource Graph's order.
const COLUMNS: [&str; 16] = [
    "id",
    "name",
    "type",
    "tenantId",
    "kind",
    "location",
    "resourceGroup",
    "subscriptionId",
    "managedBy",
    "sku",
    "plan",
    "properties",
    "tags",
    "identity",
    "zones",
    "extendedLocation",
];

/// Columns that are known without looking into a row's document.
const BRIEF: [&str; 7] = [
    "id",
    "name",
    "type",
    "tenantId",
    "location",
    "resourceGroup",
    "subscriptionId",
];

pub(super) struct Tables<'a> {
    call: &'a Call,
    fuel: &'a Fuel,
    tenant: String,
    subscription: String,
}

impl<'a> Tables<'a> {
    pub(super) fn of(call: &'a Call, fuel: &'a Fuel) -> Self {
        let (tenant, subscription) = (call.arm.control.tenant(), call.arm.control.subscription());
        Self {
            call,
            fuel,
            tenant,
            subscription,
        }
    }

    pub(super) fn setting(&self) -> Setting<'a> {
        Setting {
            fuel: self.fuel,
            now_ms: self.call.now_ms,
        }
    }

    /// The rows that a query begins with.
    pub(super) fn rows(&self, query: &Query, wanted: &Wanted) -> Result<Rowset, Refusal> {
        let columns = columns(&query.operators, wanted);
        let rows = match query.table.to_ascii_lowercase().as_str() {
            "resources" => {
                let kind = first_type(&query.operators);
                let selection = Selection {
                    kind,
                    tracked: true,
                    ..Selection::default()
                };
                self.scan(&selection, &columns, wanted)?
            }
            "resourcecontainers" => {
                let mut rows = Vec::new();
                for kind in [SUBSCRIPTION, GROUP] {
                    let selection = Selection {
                        kind: Some(kind),
                        ..Selection::default()
                    };
                    rows.extend(self.scan(&selection, &columns, wanted)?);
                }
                rows
            }
            "authorizationresources" => self.authorization(&columns)?,
            _ => return Err(QueryError::NoTable(query.table.clone()).into()),
        };
        Ok(Rowset {
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
            rows,
        })
    }

    fn scan(
        &self,
        selection: &Selection<'_>,
        columns: &[&str],
        wanted: &Wanted,
    ) -> Result<Vec<Vec<Value>>, Refusal> {
        let mut visible = Visible::to(&self.call.arm, self.call.caller());
        let inside = columns
            .iter()
            .any(|name| !BRIEF.contains(name) && wanted.member(name).is_some());
        let mut rows = Vec::new();
        let mut broken = None;
        self.call.arm.inventory.read(|all| {
            all.brief(selection, inside, |brief| {
                match self.row(brief, columns, wanted, &mut visible) {
                    Ok(Some(row)) => rows.push(row),
                    Ok(None) => {}
                    Err(refusal) => broken = Some(refusal),
                }
                broken.is_none()
            })
        })?;
        broken.map_or(Ok(rows), Err)
    }

    fn row(
        &self,
        brief: &Brief<'_>,
        columns: &[&str],
        wanted: &Wanted,
        visible: &mut Visible<'_>,
    ) -> Result<Option<Vec<Value>>, Refusal> {
        self.fuel.burn(COLUMNS.len())?;
        if !visible.may_read_at(brief.id, brief.group, brief.kind) {
            return Ok(None);
        }
        let mut document = Map::new();
        if let Some(json) = brief.json {
            self.fuel.burn(json.len())?;
            document = wanted.of_document(json).map_err(Fault::Row)?;
        }
        let values = columns.iter().map(|name| match *name {
            "id" => brief.id.into(),
            "name" => brief.id.rsplit('/').next().unwrap_or_default().into(),
            "type" => brief.kind.into(),
            "tenantId" => self.tenant.as_str().into(),
            "location" => brief.location.into(),
            "resourceGroup" => brief.group.into(),
            "subscriptionId" => self.subscription.as_str().into(),
            "kind" | "managedBy" => document.remove(*name).unwrap_or_else(|| "".into()),
            other => document.remove(other).unwrap_or_default(),
        });
        Ok(Some(values.collect()))
    }

    /// Role definitions and assignments that the caller may read.
    fn authorization(&self, columns: &[&str]) -> Result<Vec<Vec<Value>>, Refusal> {
        let control = &self.call.arm.control;
        let state = control.state();
        let mut visible = Visible::to(&self.call.arm, self.call.caller());
        let mut rows = Vec::new();
        for role in state.roles.definitions() {
            let scopes = role
                .assignable_scopes
                .iter()
                .filter_map(|scope| scope.parse().ok());
            let mut scopes = scopes.filter(|scope: &ResourceId| *scope != ResourceId::root());
            let read = "Microsoft.Authorization/roleDefinitions/read";
            if role.is_built_in() || scopes.any(|scope| visible.may(&scope, read)) {
                rows.push(self.authorization_row(&control.role_shape(role), columns)?);
            }
        }
        for assignment in state.roles.assignments() {
            let read = "Microsoft.Authorization/roleAssignments/read";
            if assignment
                .scope
                .parse()
                .is_ok_and(|scope| visible.may(&scope, read))
            {
                rows.push(self.authorization_row(&control.assignment_shape(assignment), columns)?);
            }
        }
        Ok(rows)
    }

    fn authorization_row(&self, shape: &Value, columns: &[&str]) -> Result<Vec<Value>, Refusal> {
        self.fuel.burn(weight(shape))?;
        let row = columns.iter().map(|column| match *column {
            "type" => shape
                .get("type")
                .and_then(Value::as_str)
                .map(str::to_ascii_lowercase)
                .into(),
            "id" | "name" | "properties" => shape.get(*column).cloned().unwrap_or_default(),
            "tenantId" => self.tenant.as_str().into(),
            "location" => "global".into(),
            "subscriptionId" => self.subscription.as_str().into(),
            "kind" | "resourceGroup" | "managedBy" => "".into(),
            _ => Value::Null,
        });
        Ok(row.collect())
    }
}

/// The columns that rows are given. A join renames columns that both sides have, so before one all are there.
fn columns(operators: &[Operator], wanted: &Wanted) -> Vec<&'static str> {
    let joins = operators
        .iter()
        .any(|operator| matches!(operator, Operator::Join(_)));
    let wanted = |name: &&str| joins || wanted.member(name).is_some();
    COLUMNS.into_iter().filter(wanted).collect()
}

/// The type that a query's first condition demands: then only such rows are looked at.
fn first_type(operators: &[Operator]) -> Option<&str> {
    match operators.first()? {
        Operator::Where(expr) => demanded_type(expr),
        _ => None,
    }
}

fn demanded_type(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::And(one, other) => demanded_type(one).or_else(|| demanded_type(other)),
        Expr::Compare(Compare::Equal | Compare::EqualAnyCase, one, other) => {
            match (one.as_ref(), other.as_ref()) {
                (Expr::Name(name), Expr::Const(Value::String(kind))) if name == "type" => Some(kind),
                _ => None,
            }
        }
        _ => None,
    }
}
