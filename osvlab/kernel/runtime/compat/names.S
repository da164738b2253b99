// Second names: glibc's name for a function that musl has under another one.
//
// A jump, so any arguments will do. The _l forms jump to the plain function, which ignores the
// locale: musl has only the C locale's numbers. 64-bit file offsets: the names with 64 are
// those without (musl before 1.2.4 had them, later ones do not).

    .macro second name, function
    .pushsection .text.\name, "ax", @progbits
    .weak \name
    .type \name, @function
\name:
    jmp \function
    .size \name, . - \name
    .popsection
    .endm

    .irp name, aio_cancel, aio_error, aio_fsync, aio_read, aio_return, aio_suspend, aio_write, \
        alphasort, creat, fallocate, fcntl, fgetpos, fopen, freopen, fseeko, fsetpos, fstat, \
        fstatat, fstatfs, fstatvfs, ftello, ftruncate, ftw, getdents, getrlimit, glob, \
        globfree, lio_listio, lockf, lseek, lstat, mkostemp, mkostemps, mkstemp, mkstemps, \
        mmap, nftw, open, openat, posix_fadvise, posix_fallocate, pread, preadv, prlimit, \
        pwrite, pwritev, readdir, scandir, sendfile, setrlimit, stat, statfs, statvfs, \
        tmpfile, truncate, versionsort, __xstat, __fxstat, __lxstat, __fxstatat
    second \name\()64, \name
    .endr
    second readdir64_r, readdir_r
    second preadv64v2, preadv2
    second pwritev64v2, pwritev2
    second __open64, open
    second __pread64, pread
    second __pwrite64, pwrite
    second __fstat64, fstat
    second __fseeko64, fseeko
    second __ftello64, ftello

    .irp name, asprintf, bzero, clock_gettime, close, connect, dcgettext, dgettext, dup2, endmntent, \
        fcntl, ffs, fork, getauxval, getpagesize, getpgid, getpid, getrlimit, gettimeofday, \
        gmtime_r, lseek, madvise, mbrlen, mbrtowc, mempcpy, mktemp, mmap, mprotect, munmap, \
        nanosleep, open, pipe, poll, read, recv, sbrk, sched_get_priority_max, \
        sched_get_priority_min, sched_getparam, sched_getscheduler, sched_setscheduler, \
        sched_yield, select, send, sendmmsg, setmntent, setpgid, sigaction, sigpause, \
        sigsuspend, sigtimedwait, snprintf, socket, statfs, stpcpy, stpncpy, strcasecmp, \
        strcasestr, strdup, strftime_l, strndup, strtok_r, strverscmp, sysconf, tdelete, \
        tfind, towctrans, tsearch, twalk, vfork, vfscanf, vsnprintf, vsscanf, wait, waitpid, \
        write, pthread_key_create, finite, finitef, memcmpeq
    second __\name, \name
    .endr
    second __wcscasecmp_l, wcscasecmp_l
    second __wcsncasecmp_l, wcsncasecmp_l
    second memcmpeq, memcmp
    second __rawmemchr, rawmemchr
    second __strsep_g, strsep
    second __gnu_dev_major, gnu_dev_major

    .irp name, strtol, strtoul, strtoll, strtoull, wcstol, wcstoul, wcstoll, wcstoull, wcstod, \
        wcstof, wcstold, strptime
    second \name\()_l, \name
    second __\name\()_l, \name
    .endr
    .irp name, strtol, strtoul, strtoll, strtoull, strtod, strtof, strtold, wcstol, wcstoul, wcstoll, \
        wcstoull, wcstod, wcstof, wcstold
    second __\name\()_internal, \name
    .endr
    second strtoq, strtoll
    second strtouq, strtoull
    second wcstoq, wcstoll
    second wcstouq, wcstoull

    .irp name, strtol, strtoul, strtoll, strtoull, strtoimax, strtoumax, wcstol, wcstoul, wcstoll, \
        wcstoull, wcstoimax, wcstoumax, scanf, fscanf, sscanf, vscanf, vfscanf, vsscanf, \
        wscanf, fwscanf, swscanf, vwscanf, vfwscanf, vswscanf
    second __isoc23_\name, \name
    .endr
    second __isoc23_strtol_l, strtol
    second __isoc23_strtoul_l, strtoul
    second __isoc23_strtoll_l, strtoll
    second __isoc23_strtoull_l, strtoull

    second __longjmp_chk, longjmp
    second __fgets_unlocked_chk, __fgets_chk
    second __fread_unlocked_chk, __fread_chk
    second __open_nocancel, open
    second __close_nocancel, close
    second __read_nocancel, read
    second __write_nocancel, write
    second __pread64_nocancel, pread
    second canonicalize, rint
    second gamma, lgamma
    second gammaf, lgammaf
    second gammal, lgammal
    second gsignal, raise
    second ssignal, signal
    second pvalloc, valloc
    .section .note.GNU-stack, "", @progbits
