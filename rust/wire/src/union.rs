//! A tagged union is an array whose first element names the variant and whose other elements are its fields.

/// Declares message structs and the union of all messages that one socket receives.
///
/// Serde's own enum representations are maps or nested arrays; msgspec's `array_like` with a tag is flat, so the two
/// traits are written out here once.
macro_rules! union {
    (
        $(#[$union_meta:meta])* $union:ident {
            $($(#[$meta:meta])* $tag:literal => $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty),* $(,)? })*
        }
    ) => {
        $(
            $(#[$meta])*
            #[derive(Debug, Clone, PartialEq, serde::Deserialize)]
            pub struct $name { $($(#[$field_meta])* pub $field: $type,)* }

            impl serde::Serialize for $name {
                fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    use serde::ser::SerializeSeq;
                    let fields: usize = 1 $(+ { let _ = stringify!($field); 1 })*;
                    let mut seq = serializer.serialize_seq(Some(fields))?;
                    seq.serialize_element($tag)?;
                    $(seq.serialize_element(&self.$field)?;)*
                    seq.end()
                }
            }

            impl From<$name> for $union {
                fn from(message: $name) -> Self {
                    Self::$name(message)
                }
            }
        )*

        $(#[$union_meta])*
        #[allow(clippy::large_enum_variant)] // messages are taken apart where they are decoded, and never kept
        #[derive(Debug, Clone, PartialEq)]
        pub enum $union { $($(#[$meta])* $name($name),)* }

        impl serde::Serialize for $union {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self { $(Self::$name(message) => message.serialize(serializer),)* }
            }
        }

        impl<'de> serde::Deserialize<'de> for $union {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl<'de> serde::de::Visitor<'de> for Visitor {
                    type Value = $union;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
                        write!(formatter, "an array that starts with a tag of {}", stringify!($union))
                    }

                    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<$union, A::Error> {
                        use serde::de::Error;
                        let tag: &str = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
                        let rest = serde::de::value::SeqAccessDeserializer::new(seq);
                        match tag {
                            $($tag => Ok($union::$name(serde::Deserialize::deserialize(rest)?)),)*
                            other => Err(A::Error::unknown_variant(other, &[$($tag),*])),
                        }
                    }
                }
                deserializer.deserialize_seq(Visitor)
            }
        }
    };
}
