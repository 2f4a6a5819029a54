//! States as a gateway writes them, and those that it will think of.

/// An enum with one variant for each text, and one for all others.
macro_rules! states {
    ($(#[$doc:meta])* $name:ident { $($state:ident $text:literal)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $name {
            $($state,)*
            /// One that came into the world after this release.
            Unknown(String),
        }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$state,)*];

            pub(crate) fn of(text: String) -> $name {
                match text.as_str() {
                    $($text => $name::$state,)*
                    _ => $name::Unknown(text),
                }
            }

            /// As the gateway writes it.
            pub fn name(&self) -> &str {
                match self {
                    $($name::$state => $text,)*
                    $name::Unknown(text) => text,
                }
            }
        }
    };
}
pub(crate) use states;
