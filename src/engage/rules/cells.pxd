from engage.rules.cell cimport Row, RuleCells

cdef class Cells:
    cdef public list timers
    cdef public dict awake
    cdef dict _drowsy
    cdef dict _asleep
    cdef public dict changed
    cdef public Py_ssize_t most_awake
    cdef Py_ssize_t _compact_at
    cdef object _unkept
    cdef dict _rules
    cdef set _gone

    cpdef RuleCells of(self, str rule)
    cpdef Row row(self, str account)
    cpdef object change(self, Row row, object bits)
    cpdef object arm(self, Row row, object cell, str rule, str about, object armed)
    cpdef object pop_due(self, object now)
    cdef tuple _first(self, object until)
    cpdef object adopt(self, str rule, Cells other)
    cpdef object adopt_one(self, str rule, str account, Cells other, object of=*)
