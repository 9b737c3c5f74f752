//! The tables that queries begin with: what the caller may read, and of it the columns that the query asks for.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};
use strongroom_azure::ResourceId;

use super::Refusal;
use super::ast::{Compare, Expr, Operator, Query};
use super::error::QueryError;
use super::expression::Setting;
use super::fuel::Fuel;
use super::operators::Rowset;
use super::value::weight;
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
    pub(super) fn rows(&self, query: &Query, needed: Option<&BTreeSet<String>>) -> Result<Rowset, Refusal> {
        let rows = match query.table.to_ascii_lowercase().as_str() {
            "resources" => {
                let kind = first_type(&query.operators);
                let selection = Selection {
                    kind,
                    tracked: true,
                    ..Selection::default()
                };
                self.scan(&selection, needed)?
            }
            "resourcecontainers" => {
                let mut rows = Vec::new();
                for kind in [SUBSCRIPTION, GROUP] {
                    let selection = Selection {
                        kind: Some(kind),
                        ..Selection::default()
                    };
                    rows.extend(self.scan(&selection, needed)?);
                }
                rows
            }
            "authorizationresources" => self.authorization()?,
            _ => return Err(QueryError::NoTable(query.table.clone()).into()),
        };
        Ok(Rowset {
            columns: COLUMNS.iter().map(|name| (*name).to_owned()).collect(),
            rows,
        })
    }

    fn scan(
        &self,
        selection: &Selection<'_>,
        needed: Option<&BTreeSet<String>>,
    ) -> Result<Vec<Vec<Value>>, Refusal> {
        let mut visible = Visible::to(&self.call.arm, self.call.caller());
        let wanted = |name: &str| needed.is_none_or(|needed| needed.contains(&name.to_ascii_lowercase()));
        let wanted: Vec<bool> = COLUMNS.iter().map(|name| wanted(name)).collect();
        let inside = COLUMNS
            .iter()
            .zip(&wanted)
            .any(|(name, wanted)| *wanted && !BRIEF.contains(name));
        let mut rows = Vec::new();
        let mut broken = None;
        self.call.arm.inventory.read(|all| {
            all.brief(selection, |brief| {
                let row = self.row(brief, &wanted, inside, &mut visible);
                match row {
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
        wanted: &[bool],
        inside: bool,
        visible: &mut Visible<'_>,
    ) -> Result<Option<Vec<Value>>, Refusal> {
        self.fuel.burn(COLUMNS.len())?;
        if !visible.may_read_at(brief.id, brief.group, brief.kind) {
            return Ok(None);
        }
        let mut document = Map::new();
        if inside {
            self.fuel.burn(brief.json.len())?;
            document = members(brief.json, wanted).map_err(Fault::Row)?;
        }
        let values = COLUMNS.iter().zip(wanted).map(|(name, wanted)| {
            if !wanted {
                return Value::Null;
            }
            match *name {
                "id" => brief.id.into(),
                "name" => brief.id.rsplit('/').next().unwrap_or_default().into(),
                "type" => brief.kind.into(),
                "tenantId" => self.tenant.as_str().into(),
                "location" => brief.location.into(),
                "resourceGroup" => brief.group.into(),
                "subscriptionId" => self.subscription.as_str().into(),
                "kind" | "managedBy" => document.remove(*name).unwrap_or_else(|| "".into()),
                other => document.remove(other).unwrap_or_default(),
            }
        });
        Ok(Some(values.collect()))
    }

    /// Role definitions and assignments that the caller may read.
    fn authorization(&self) -> Result<Vec<Vec<Value>>, Refusal> {
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
                rows.push(self.authorization_row(&control.role_shape(role))?);
            }
        }
        for assignment in state.roles.assignments() {
            let read = "Microsoft.Authorization/roleAssignments/read";
            if assignment
                .scope
                .parse()
                .is_ok_and(|scope| visible.may(&scope, read))
            {
                rows.push(self.authorization_row(&control.assignment_shape(assignment))?);
            }
        }
        Ok(rows)
    }

    fn authorization_row(&self, shape: &Value) -> Result<Vec<Value>, Refusal> {
        self.fuel.burn(weight(shape))?;
        let row = COLUMNS.iter().map(|column| match *column {
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

/// The wanted members of a document; the others are skipped, not made.
fn members(json: &str, wanted: &[bool]) -> Result<Map<String, Value>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    Wanted(wanted).deserialize(&mut deserializer)
}

struct Wanted<'a>(&'a [bool]);

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = Map<String, Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let wanted = COLUMNS
                .iter()
                .zip(self.0)
                .any(|(column, wanted)| *wanted && *column == name);
            if wanted {
                found.insert(name, map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}
