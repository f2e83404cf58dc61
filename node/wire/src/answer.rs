//! Decoding of answers: a missing field or `null` is the default, and an unknown field is ignored.

use serde::{Deserialize, Deserializer};

/// Declares answers. Each field is decoded leniently and always encoded.
macro_rules! answers {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $name { $(
            $(#[$field_meta])*
            #[serde(deserialize_with = "crate::answer::or_default")]
            pub $field: $type,
        )* }
    )*};
}

pub(crate) use answers;

/// Decodes `null` as the default.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
