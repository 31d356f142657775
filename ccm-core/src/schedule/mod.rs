//! The default scheduler and the retry policy.
