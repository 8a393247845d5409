//! The page. It loads nothing from elsewhere, and asks for what it shows by `/api/`.

pub(super) const HTML: &str = include_str!("page/page.html");
pub(super) const CSS: &str = include_str!("page/page.css");
pub(super) const JS: &str = include_str!("page/page.js");
pub(super) const GRAPH: &str = include_str!("page/graph.js");
pub(super) const ICON: &str = include_str!("page/icon.svg");
