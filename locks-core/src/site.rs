#[path = "foreign_site.rs"]
mod foreign;

use std::fmt;
use std::panic::Location;
use std::ptr::NonNull;

use self::foreign::ForeignSite;

/// A position in the program: `file:line` and, if known, the function
/// ([C12](crate::contract#c12-holder-information)).
///
/// One word wide, so that a hold can remember it at no cost.
#[derive(Clone, Copy)]
pub struct CallSite {
    /// I1: the address of a `&'static Location`, or, with one of the [`TAGS`] in its lowest bits,
    /// that of a `&'static FunctionSite` or a `&'static ForeignSite`. All are aligned to four bytes
    /// at least.
    tagged: NonNull<u8>,
}

/// The bits of an address that tell what is there.
const TAGS: usize = 3;
const FUNCTION: usize = 1;
const FOREIGN: usize = 2;

// SAFETY: by I1 it stands for a shared reference to one of three types that are `Sync`.
unsafe impl Send for CallSite {}
// SAFETY: as above.
unsafe impl Sync for CallSite {}

enum Site {
    Caller(&'static Location<'static>),
    Function(&'static FunctionSite),
    Foreign(&'static ForeignSite),
}

/// A call site that also knows the function it lies in; the attribute makes one per function.
#[derive(Debug)]
pub struct FunctionSite {
    location: &'static Location<'static>,
    function: &'static str,
}

impl FunctionSite {
    /// Returns the site at the caller's position, in `function`.
    #[track_caller]
    pub const fn new(function: &'static str) -> Self {
        Self { location: Location::caller(), function }
    }
}

impl CallSite {
    /// Returns the position of the caller of the enclosing `#[track_caller]` function.
    #[inline]
    #[track_caller]
    pub fn caller() -> Self {
        Self::at(Location::caller())
    }

    /// Creates a call site from a location.
    #[inline]
    pub fn at(location: &'static Location<'static>) -> Self {
        Self { tagged: NonNull::from(location).cast() }
    }

    /// Creates a call site from a location and the name of its function.
    #[inline]
    pub fn within(site: &'static FunctionSite) -> Self {
        let site = NonNull::from(site).cast::<u8>();
        Self { tagged: site.map_addr(|address| address | FUNCTION) }
    }

    /// Creates a call site of another process from its text.
    ///
    /// The text is kept for as long as this process runs. Returns `None` if the text is empty or
    /// longer than 512 bytes, or if it is new and the room for such texts is used up.
    pub fn interned(text: &str) -> Option<Self> {
        let site = NonNull::from(ForeignSite::interned(text)?).cast::<u8>();
        Some(Self { tagged: site.map_addr(|address| address | FOREIGN) })
    }

    /// Returns the source file, as the compiler was given it; for a site that was
    /// [interned](Self::interned), its whole text.
    pub fn file(&self) -> &'static str {
        match self.site() {
            Site::Caller(location) => location.file(),
            Site::Function(site) => site.location.file(),
            Site::Foreign(site) => site.text(),
        }
    }

    /// Returns the line, counted from 1; 0 for a site that was [interned](Self::interned).
    pub fn line(&self) -> u32 {
        match self.site() {
            Site::Caller(location) => location.line(),
            Site::Function(site) => site.location.line(),
            Site::Foreign(_) => 0,
        }
    }

    /// Returns the path of the function, if the attribute recorded it.
    pub fn function(&self) -> Option<&'static str> {
        match self.site() {
            Site::Caller(_) | Site::Foreign(_) => None,
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

    fn site(&self) -> Site {
        let tagged = self.tagged.as_ptr();
        let address = tagged.map_addr(|address| address & !TAGS);
        match tagged.addr() & TAGS {
            // SAFETY: by I1 an untagged address is that of a `&'static Location`.
            0 => Site::Caller(unsafe { &*address.cast::<Location<'static>>() }),
            // SAFETY: by I1 this tag is on the address of a `&'static FunctionSite`.
            FUNCTION => Site::Function(unsafe { &*address.cast::<FunctionSite>() }),
            // SAFETY: by I1 the other tag is on the address of a `&'static ForeignSite`.
            _ => Site::Foreign(unsafe { &*address.cast::<ForeignSite>() }),
        }
    }
}

const _: () = assert!(align_of::<Location<'static>>() > TAGS);
const _: () = assert!(align_of::<FunctionSite>() > TAGS && align_of::<ForeignSite>() > TAGS);

impl fmt::Display for CallSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Site::Foreign(site) = self.site() {
            return f.write_str(site.text());
        }
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
