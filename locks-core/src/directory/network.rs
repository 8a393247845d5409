use std::io;
use std::path::Path;

/// Returns `true` if a path lies on a file system of another machine, or would if it were there: by
/// the magic numbers of `linux/magic.h` and of the file systems' own sources.
///
/// # Errors
/// What keeps the file system from being asked.
pub fn is_network(path: &Path) -> io::Result<bool> {
    const NETWORKS: [u64; 13] = [
        0x6969,      // NFS
        0x517b,      // SMB
        0xff53_4d42, // CIFS
        0xfe53_4d42, // SMB 2
        0x0102_1997, // 9P
        0x00c3_6400, // Ceph
        0x5346_414f, // AFS
        0x6b41_4653, // kAFS
        0x7375_7245, // Coda
        0x7461_636f, // OCFS2
        0x0116_1970, // GFS2
        0x0bd0_0bd0, // Lustre
        0x4750_4653, // GPFS
    ];
    #[cfg(target_os = "linux")]
    {
        #[expect(clippy::cast_sign_loss, reason = "a magic number is 32 bits, whatever holds it")]
        let kind = rustix::fs::statfs(nearest(path))?.f_type as u64 & 0xffff_ffff;
        Ok(NETWORKS.contains(&kind))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (nearest(path), NETWORKS);
        Ok(false)
    }
}

/// The path itself, or the nearest above it that exists.
fn nearest(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f7_a_local_directory_is_no_network() {
        assert!(!is_network(Path::new("/")).unwrap());
        assert_eq!(nearest(Path::new("/no such thing/at all")), Path::new("/"));
    }
}
