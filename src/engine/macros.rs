// SPDX-License-Identifier: GPL-2.0

//! Tables as code: sets of named bits and numbered enumerations, as the protocol and the metadata
//! use them.

/// Defines a set of named bits. Bits without a name are dropped by `from_bits`, as the
/// specification asks for every such field.
macro_rules! flag_set {
    (
        $(#[$outer:meta])*
        pub struct $name:ident: $int:ty {
            $($(#[$inner:meta])* $flag:ident = $value:expr;)*
        }
    ) => {
        $(#[$outer])*
        #[derive(Clone, Copy, PartialEq, Eq, Default)]
        pub struct $name($int);

        impl $name {
            $($(#[$inner])* pub const $flag: Self = Self($value);)*

            /// No bit.
            pub const NONE: Self = Self(0);

            /// Every named bit.
            pub const ALL: Self = Self(0 $(| $value)*);

            /// The named bits of `bits`; others are dropped.
            pub const fn from_bits(bits: $int) -> Self {
                Self(bits & Self::ALL.0)
            }

            /// The bits as a number.
            pub const fn bits(self) -> $int {
                self.0
            }

            /// Whether all bits of `other` are set.
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Whether any bit of `other` is set.
            pub const fn intersects(self, other: Self) -> bool {
                self.0 & other.0 != 0
            }

            /// The bits of both.
            pub const fn union(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// The bits that both have.
            pub const fn intersection(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }

            /// The bits without those of `other`.
            pub const fn without(self, other: Self) -> Self {
                Self(self.0 & !other.0)
            }

            /// The bits with those of `other` set or cleared.
            pub const fn with(self, other: Self, set: bool) -> Self {
                if set {
                    self.union(other)
                } else {
                    self.without(other)
                }
            }
        }

        impl core::ops::BitOr for $name {
            type Output = Self;

            fn bitor(self, other: Self) -> Self {
                self.union(other)
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Display::fmt(self, f)
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                let mut first = true;
                $(
                    if self.contains(Self::$flag) {
                        if !first {
                            f.write_str("|")?;
                        }
                        first = false;
                        f.write_str(stringify!($flag))?;
                    }
                )*
                if first {
                    f.write_str("-")?;
                }
                Ok(())
            }
        }
    };
}

/// Defines an enumeration whose numbers and names the protocol fixes, one row a value.
macro_rules! wire_enum {
    (
        $(#[$outer:meta])*
        pub enum $name:ident {
            $($(#[$inner:meta])* $value:literal $variant:ident;)*
        }
    ) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$inner])* $variant = $value,)*
        }

        impl $name {
            /// Every value, in the order of the numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The value with this number.
            pub const fn from_number(number: u32) -> Option<Self> {
                match number {
                    $($value => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The number on the wire.
            pub const fn number(self) -> u32 {
                self as u32
            }

            /// The name that users know.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)*
                }
            }

            /// The value with this name, exactly as [`Self::name`] writes it.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.name() == name)
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.pad(self.name())
            }
        }
    };
}
