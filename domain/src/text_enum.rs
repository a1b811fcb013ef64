//! Owns: enums that are stored and sent as text, with one spelling for the database, the API and the code.

/// Text that names no member of an enum.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what} (expected one of: {expected})")]
pub struct UnknownText {
    pub what: &'static str,
    pub text: String,
    pub expected: String,
}

/// Declares an enum whose members are stored as the given text: `as_str`, `FromStr`, `TryFrom<String>`, serde.
#[macro_export]
macro_rules! text_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$member_doc:meta])* $member:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub enum $name { $($(#[$member_doc])* $member),* }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$member),*];

            /// The text it is stored as.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$member => $text),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::text_enum::UnknownText;
            fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
                match text {
                    $($text => Ok($name::$member),)*
                    other => Err($crate::text_enum::UnknownText {
                        what: stringify!($name),
                        text: other.to_owned(),
                        expected: [$($text),*].join(", "),
                    }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::text_enum::UnknownText;
            fn try_from(text: String) -> std::result::Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.as_str().to_owned()
            }
        }
    };
}
