//! What an upstream has to answer that loses nothing and knows of nobody else.

macro_rules! loses_nothing {
    () => {
        fn poll_lost(
            &self,
            _: &str,
            _: locks_core::UpstreamGrant,
            _: Option<&mut std::task::Context<'_>>,
        ) -> std::task::Poll<locks_core::LostCause> {
            std::task::Poll::Pending
        }

        fn unwatch(&self, _: &str, _: locks_core::UpstreamGrant, _: &std::task::Waker) {}

        fn stolen_from(
            &self,
            _: &str,
            _: locks_core::UpstreamGrant,
        ) -> Vec<locks_core::HolderInfo> {
            Vec::new()
        }

        fn refresh(&self, _: &str, _: locks_core::UpstreamGrant) -> locks_core::Op<'static, ()> {
            locks_core::Op::ready(())
        }

        fn inspect(
            &self,
            _: locks_core::Query,
        ) -> locks_core::Op<'static, Vec<locks_core::LockInfo>> {
            locks_core::Op::ready(Vec::new())
        }

        fn evict(&self, _: &str, _: locks_core::Token) -> locks_core::Op<'static, bool> {
            locks_core::Op::ready(false)
        }
    };
}
