from engage.rules.cell cimport Row, RuleCells
from engage.rules.cells cimport Cells
from engage.rules.deciding cimport Deciding
cimport cython

cdef class Engine:
    cdef public Py_ssize_t partition
    cdef public dict rules
    cdef public object policy_settings
    cdef public object settling
    cdef public Py_ssize_t position
    cdef public dict basis
    cdef public list failures
    cdef public list mended
    cdef public list renewed
    cdef public object hushed
    cdef public object passed
    cdef public Cells cells
    cdef dict _versions
    cdef public Deciding deciding
    cdef tuple _anew
    cdef dict _dispatch
    cdef set _whole

    @cython.locals(cells=Cells, timers=list, decided=list, proposals=list, heard_by=tuple, row=Row)
    cpdef list fold(self, object event, bint silent=*, object known=*)
    @cython.locals(proposals=list, cells=RuleCells, row=Row, fired=tuple, effects=list, waiting=Cells)
    cdef list _fire(self, object event, object now, object passed)
    @cython.locals(proposals=list, cells=RuleCells, listeners=list, row_cells=list)
    cdef list _hand(self, object event, object now, Row row, tuple heard_by, object passed)
    @cython.locals(proposals=list)
    cdef list _apply(self, object effects, object rule, Row row, object cell, object event, object now, object origin, bint woken)
    cdef object _check_wakes(self, list effects, object due)
    cdef object _park(self, RuleCells cells, Row row, object cell, str event_id, Py_ssize_t offset)
