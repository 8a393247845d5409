//! The names of what a namespace has at the server.

/// Where things are: everything of a namespace is in one slot of a cluster.
pub(super) struct RedisLayout {
    /// With its braces.
    namespace: String,
}

impl RedisLayout {
    pub(super) fn new(namespace: &str) -> Self {
        Self { namespace: format!("{{{namespace}}}") }
    }

    /// The hash of the namespace itself.
    pub(super) fn meta(&self) -> String {
        format!("{}:m", self.namespace)
    }

    pub(super) fn key(&self, key: &str) -> String {
        format!("{}:l:{key}", self.namespace)
    }

    /// The channel on which a client is called.
    pub(super) fn channel(&self, client: &str) -> String {
        format!("{}:in:{client}", self.namespace)
    }

    /// A pattern for all keys. In a namespace no character stands for others.
    pub(super) fn pattern(&self, prefix: &str) -> String {
        let mut pattern = format!("{}:l:", self.namespace);
        for letter in prefix.chars() {
            if "*?[]^-\\".contains(letter) {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
        pattern.push('*');
        pattern
    }

    /// The key as users know it.
    pub(super) fn name<'k>(&self, key: &'k str) -> Option<&'k str> {
        key.strip_prefix(&self.namespace)?.strip_prefix(":l:")
    }
}
