//! Two macros that give every API type the same derives and the same JSON spelling.
//!
//! They add nothing to what is written inside them: a struct stays a struct with public documented fields.

/// Declares structs of an API: all fields optional in JSON, camel case, `null` as absent.
///
/// Their documentation is also their schema's ([`crate::schema`]).
macro_rules! api_structs {
    ($($(#[doc = $doc:literal])* pub struct $name:ident {
        $($(#[doc = $field_doc:literal])* $(#[serde $serde:tt])? pub $field:ident: $type:ty,)*
    })*) => {$(
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Default, serde::Deserialize, serde::Serialize)]
        #[serde(default, rename_all = "camelCase")]
        pub struct $name {
            $($(#[doc = $field_doc])* $(#[serde $serde])? pub $field: $type,)*
        }

        impl crate::schema::Described for $name {
            fn schema() -> crate::schema::Schema {
                crate::schema::Schema::object(&[$($doc),*])
                    $(.field::<$type>(
                        stringify!($field),
                        concat!("", $(stringify!($serde))?),
                        &[$($field_doc),*],
                    ))*
            }
        }
    )*};
}

/// Declares a string enum of an API with its spellings; the variant marked `=> default` is the zero value.
///
/// A spelling that is not listed is an error that names the accepted ones, except where the enum has a
/// variant after `else`, which then stands for every other spelling.
macro_rules! api_enum {
    ($(#[$meta:meta])* pub enum $name:ident {
        $($(#[doc = $variant_doc:literal])* $variant:ident = $text:literal,)*
    } default $default:ident $(else $(#[$other_meta:meta])* $other:ident)?) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[doc = $variant_doc])* $variant,)*
            $($(#[$other_meta])* $other,)?
        }

        impl Default for $name {
            fn default() -> Self {
                Self::$default
            }
        }

        impl $name {
            /// Every spelling of the API, in declaration order.
            pub const SPELLINGS: &'static [&'static str] = &[$($text),*];

            /// The spelling of the API.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                    $(Self::$other => "(other)",)?
                }
            }
        }

        impl crate::schema::Described for $name {
            fn schema() -> crate::schema::Schema {
                let closed = true $(&& stringify!($other).is_empty())?;
                crate::schema::Schema::spellings(
                    &[$(($text, &[$($variant_doc),*])),*],
                    closed,
                )
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Spelling;
                impl serde::de::Visitor<'_> for Spelling {
                    type Value = $name;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("one of ")?;
                        f.write_str(&$name::SPELLINGS.join(", "))
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        match text {
                            $($text => Ok($name::$variant),)*
                            $(_ if true => Ok($name::$other),)?
                            _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                        }
                    }
                }
                deserializer.deserialize_str(Spelling)
            }
        }
    };
}
