cpdef str matter_of(str rule, object request)
cpdef object decide(object state, object settings, str rule, str account, object request, str matter, object base, object now)
cpdef bint is_news(object state, str rule, str about, object no) except -1
cpdef object learn(object state, object settings, object decision)
