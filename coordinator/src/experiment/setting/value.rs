//! Values of settings, whatever their types.

use std::{any::Any, fmt, hash, sync::Arc};

use serde_json::Value as Json;

use super::super::yaml::{self, Node};

/// A type of values.
pub(crate) trait SettingValue: PartialEq + fmt::Debug + Send + Sync + 'static {
    /// As it stands in the settings of a cell.
    fn json(&self) -> Json;

    /// What a cell says besides: keys below that of the setting, and their values.
    fn details(&self) -> Vec<(String, Json)> {
        Vec::new()
    }

    /// Whether `node`, a value in `exclude`, names it.
    fn is_named_by(&self, node: &Node) -> bool {
        same(&node.value, &self.json())
    }
}

/// A value of a setting. Two are equal if they mean the same.
#[derive(Clone)]
pub struct Value(Arc<dyn AnyValue>);

impl Value {
    pub(crate) fn new(value: impl SettingValue) -> Self {
        Self(Arc::new(value))
    }

    /// The value, if it is of that type.
    pub(crate) fn get<T: 'static>(&self) -> Option<&T> {
        (&*self.0 as &dyn Any).downcast_ref()
    }

    /// As it stands in the settings of a cell.
    #[must_use]
    pub fn json(&self) -> Json {
        self.0.json()
    }

    pub(crate) fn details(&self) -> Vec<(String, Json)> {
        self.0.details()
    }

    pub(crate) fn is_named_by(&self, node: &Node) -> bool {
        self.0.is_named_by(node)
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.equals(&*other.0)
    }
}

impl Eq for Value {}

impl hash::Hash for Value {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.json().to_string().hash(state);
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

trait AnyValue: Any + fmt::Debug + Send + Sync {
    fn json(&self) -> Json;
    fn details(&self) -> Vec<(String, Json)>;
    fn is_named_by(&self, node: &Node) -> bool;
    fn equals(&self, other: &dyn AnyValue) -> bool;
}

impl<T: SettingValue> AnyValue for T {
    fn json(&self) -> Json {
        SettingValue::json(self)
    }

    fn details(&self) -> Vec<(String, Json)> {
        SettingValue::details(self)
    }

    fn is_named_by(&self, node: &Node) -> bool {
        SettingValue::is_named_by(self, node)
    }

    fn equals(&self, other: &dyn AnyValue) -> bool {
        (other as &dyn Any).downcast_ref() == Some(self)
    }
}

/// Numbers are equal when their values are: `0` and `0.0` name the same.
pub(crate) fn same(found: &yaml::Value, setting: &Json) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "settings are f64 or small integers")]
    match (found, setting) {
        (yaml::Value::Text(text), Json::String(name)) => text == name,
        (yaml::Value::Integer(found), Json::Number(number)) => number.as_f64() == Some(*found as f64),
        (yaml::Value::Float(found), Json::Number(number)) => number.as_f64() == Some(*found),
        (yaml::Value::List(items), Json::Array(values)) => {
            items.len() == values.len() && items.iter().zip(values).all(|(item, value)| same(&item.value, value))
        }
        _ => false,
    }
}

impl SettingValue for f64 {
    fn json(&self) -> Json {
        (*self).into()
    }
}

impl SettingValue for u32 {
    fn json(&self) -> Json {
        (*self).into()
    }
}

impl SettingValue for bool {
    fn json(&self) -> Json {
        (*self).into()
    }
}

impl SettingValue for Vec<u32> {
    fn json(&self) -> Json {
        self.clone().into()
    }
}

impl SettingValue for [f64; 2] {
    fn json(&self) -> Json {
        self.to_vec().into()
    }
}

impl<T: SettingValue> SettingValue for Option<T> {
    fn json(&self) -> Json {
        self.as_ref().map_or_else(|| "none".into(), SettingValue::json)
    }

    fn is_named_by(&self, node: &Node) -> bool {
        self.as_ref().map_or_else(|| same(&node.value, &"none".into()), |value| value.is_named_by(node))
    }
}

/// Values of a vocabulary are written as their names.
macro_rules! vocabularies {
    ($($Name:path),+ $(,)?) => {
        $(impl $crate::experiment::setting::SettingValue for $Name {
            fn json(&self) -> serde_json::Value {
                secateur_proto::spec::Vocabulary::name(*self).into()
            }
        })+
    };
}

pub(super) use vocabularies;
