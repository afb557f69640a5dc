//! The words that stand in labels, as types: what is counted under a word that is not here does not compile.

/// Makes an enum of a label's words.
macro_rules! labels {
    ($($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $of_word:literal])* $variant:ident = $word:literal,)+ })+) => { $(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[doc = $of_word])* #[doc = concat!("`", $word, "`.")] $variant,)+
        }

        impl $name {
            pub(super) const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word.
            #[must_use]
            pub fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }
    )+ };
}

labels! {
    /// The stages of the pipeline whose time is taken, in the order of mail.
    PipelineStage {
        Authenticate = "authenticate",
        Route = "route",
        Rewrite = "rewrite",
        Deliver = "deliver",
    }
}
