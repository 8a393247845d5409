use std::fmt;
use std::panic::Location;
use std::ptr::NonNull;

/// Where in the program a lock was asked for: `file:line` and, if known, the function (C12).
///
/// One word wide, so that a hold can remember it at no cost.
#[derive(Clone, Copy)]
pub struct CallSite {
    /// I1: the address of a `&'static Location`, or, with its lowest bit set, that of a
    /// `&'static FunctionSite`. Both are aligned to more than one byte.
    tagged: NonNull<u8>,
}

// SAFETY: by I1 it stands for a shared reference to one of two types that are `Sync`.
unsafe impl Send for CallSite {}
// SAFETY: as above.
unsafe impl Sync for CallSite {}

enum Site {
    Caller(&'static Location<'static>),
    Function(&'static FunctionSite),
}

/// A call site that also knows the function it lies in; the attribute makes one per function.
#[derive(Debug)]
pub struct FunctionSite {
    location: &'static Location<'static>,
    function: &'static str,
}

impl FunctionSite {
    /// The site at the caller's position, in `function`.
    #[track_caller]
    pub const fn new(function: &'static str) -> Self {
        Self { location: Location::caller(), function }
    }
}

impl CallSite {
    /// The position of whoever calls the function that calls this.
    #[inline]
    #[track_caller]
    pub fn caller() -> Self {
        Self::at(Location::caller())
    }

    /// A position that is known already.
    #[inline]
    pub fn at(location: &'static Location<'static>) -> Self {
        Self { tagged: NonNull::from(location).cast() }
    }

    /// A position with the name of its function.
    #[inline]
    pub fn within(site: &'static FunctionSite) -> Self {
        let site = NonNull::from(site).cast::<u8>();
        Self { tagged: site.map_addr(|address| address | 1) }
    }

    /// The source file, as the compiler was given it.
    pub fn file(&self) -> &'static str {
        self.location().file()
    }

    /// The line, counted from 1.
    pub fn line(&self) -> u32 {
        self.location().line()
    }

    /// The function, with its module path, where the attribute recorded it.
    pub fn function(&self) -> Option<&'static str> {
        match self.site() {
            Site::Caller(_) => None,
            Site::Function(site) => Some(site.function),
        }
    }

    /// For a slot's record: the site as a bare pointer.
    #[inline]
    pub(crate) fn to_raw(self) -> *mut u8 {
        self.tagged.as_ptr()
    }

    /// The site that [`to_raw`](Self::to_raw) made into `raw`; `None` for null.
    ///
    /// # Safety
    /// `raw` is null or came from `to_raw`.
    pub(crate) unsafe fn from_raw(raw: *mut u8) -> Option<Self> {
        NonNull::new(raw).map(|tagged| Self { tagged })
    }

    fn location(&self) -> &'static Location<'static> {
        match self.site() {
            Site::Caller(location) => location,
            Site::Function(site) => site.location,
        }
    }

    fn site(&self) -> Site {
        let tagged = self.tagged.as_ptr();
        if tagged.addr() & 1 == 0 {
            // SAFETY: by I1 an untagged address is that of a `&'static Location`.
            Site::Caller(unsafe { &*tagged.cast::<Location<'static>>() })
        } else {
            let site = tagged.map_addr(|address| address & !1).cast::<FunctionSite>();
            // SAFETY: by I1 a tagged address is that of a `&'static FunctionSite`.
            Site::Function(unsafe { &*site })
        }
    }
}

const _: () = assert!(align_of::<Location<'static>>() > 1 && align_of::<FunctionSite>() > 1);

impl fmt::Display for CallSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file(), self.line())?;
        match self.function() {
            Some(function) => write!(f, " in `{function}`"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for CallSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
