cdef class Row:
    cdef public str account
    cdef public object share
    cdef public list cells
    cdef public list stored
    cdef public object changed

cdef class RuleCells:
    cdef public str rule
    cdef public Py_ssize_t place
    cdef public object bit
    cdef public object decode
    cdef public object fresh
    cdef public object spare
    cdef object _state
    cdef dict _changed
    cdef object _unkept

    cpdef object lend(self, Row row)
    cpdef object keep(self, Row row)
    cpdef object get(self, Row row)
    cpdef object park(self, Row row, object parked)
    cpdef object change(self, Row row)
    cpdef object forget(self, Row row)
    cpdef object copy(self, Row row, object cell)
    cpdef bytes encoded(self, Row row)
    cdef object _awake(self, Row row, bytes value)
