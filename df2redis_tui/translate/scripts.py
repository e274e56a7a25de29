"""Lua for what Dragonfly can do and the target can't (protocol page §4.7). Each declares its keys, as clusters need.

Numbers are added as IEEE doubles and printed as Dragonfly prints them: shortest digits that read back, exponent form
below 1e-6 and from 1e21 on.
"""

from __future__ import annotations

from typing import Final

_FORMAT_DOUBLE: Final = b"""local function f(x)
if x==0 then return '0' end
local s
for p=(math.abs(x)<1e-290 and 0 or 14),16 do s=string.format('%.'..p..'e',x) if tonumber(s)==x then break end end
local g,h,r,e=string.match(s,'^(-?)(%d)%.?(%d*)e([+-]%d+)$')
local d=string.gsub(h..r,'0+$','')
e=tonumber(e)
local n=#d
if e>=21 or e<-6 then
if n>1 then d=string.sub(d,1,1)..'.'..string.sub(d,2) end
return g..d..string.format('e%+d',e) end
if e<0 then return g..'0.'..string.rep('0',-e-1)..d end
if n<=e+1 then return g..d..string.rep('0',e+1-n) end
return g..string.sub(d,1,e+1)..'.'..string.sub(d,e+2)
end
local function add(v,i)
local x=tonumber(v or '0')
i=tonumber(i)
if not x or not i then return nil end
x=x+i
if x~=x or x==1/0 or x==-1/0 then return nil end
return f(x)
end
"""

_NOT_A_FLOAT: Final = b"if not v then return redis.error_reply('ERR value is not a valid float') end\n"

INCRBYFLOAT: Final = (
    _FORMAT_DOUBLE
    + b"local v=add(redis.call('GET',KEYS[1]),ARGV[1])\n"
    + _NOT_A_FLOAT
    + b"return redis.call('SET',KEYS[1],v,'KEEPTTL')"
)

_HINCRBYFLOAT: Final = _FORMAT_DOUBLE + b"local v=add(redis.call('HGET',KEYS[1],ARGV[1]),ARGV[2])\n" + _NOT_A_FLOAT

HINCRBYFLOAT: Final = _HINCRBYFLOAT + b"return redis.call('HSET',KEYS[1],ARGV[1],v)"

HINCRBYFLOAT_HSETEX: Final = _HINCRBYFLOAT + b"return redis.call('HSETEX',KEYS[1],'KEEPTTL','FIELDS','1',ARGV[1],v)"

HINCRBYFLOAT_HPEXPIREAT: Final = (
    _HINCRBYFLOAT
    + b"""local t=redis.call('HPEXPIRETIME',KEYS[1],'FIELDS','1',ARGV[1])
redis.call('HSET',KEYS[1],ARGV[1],v)
if t and t[1] and t[1]>0 then redis.call('HPEXPIREAT',KEYS[1],string.format('%.0f',t[1]),'FIELDS','1',ARGV[1]) end
return 1"""
)

PREPEND: Final = b"return redis.call('SET',KEYS[1],ARGV[1]..(redis.call('GET',KEYS[1]) or ''),'KEEPTTL')"

# ARGV: IFEQ or IFNE, value.
DELEX: Final = b"""local v=redis.call('GET',KEYS[1])
if v and (v==ARGV[2])==(ARGV[1]=='IFEQ') then return redis.call('DEL',KEYS[1]) end
return 0"""

# ARGV: the popping command, count. Pops from the first key that exists.
POP_FIRST: Final = b"""for _,k in ipairs(KEYS) do
if redis.call('EXISTS',k)==1 then return redis.call(ARGV[1],k,ARGV[2]) end end
return false"""

# ARGV: '' | NX | FNX | FXX, 1 to keep a present field's TTL, unix ms or '' for no TTL, field, value, ...
HSETEX: Final = b"""local k,c,keep,at=KEYS[1],ARGV[1],ARGV[2]=='1',ARGV[3]
if c=='FNX' or c=='FXX' then
for i=4,#ARGV,2 do if (redis.call('HEXISTS',k,ARGV[i])==1)~=(c=='FXX') then return 0 end end end
for i=4,#ARGV,2 do
local field,had=ARGV[i],redis.call('HEXISTS',k,ARGV[i])==1
if not (c=='NX' and had) then
local t=at
if keep and had then
local old=redis.call('HPEXPIRETIME',k,'FIELDS','1',field)
t=old and old[1] and old[1]>0 and string.format('%.0f',old[1]) or ''
end
redis.call('HSET',k,field,ARGV[i+1])
if t~='' then redis.call('HPEXPIREAT',k,t,'FIELDS','1',field) end
end end
return 1"""

# The same on a target without field TTLs.
HSETEX_WITHOUT_TTL: Final = b"""local k,c=KEYS[1],ARGV[1]
if c=='FNX' or c=='FXX' then
for i=2,#ARGV,2 do if (redis.call('HEXISTS',k,ARGV[i])==1)~=(c=='FXX') then return 0 end end end
for i=2,#ARGV,2 do redis.call(c=='NX' and 'HSETNX' or 'HSET',k,ARGV[i],ARGV[i+1]) end
return 1"""

# ARGV: unix ms or '' when the target's hash fields can't expire, 1 when due at once, fail or drop, field or member, ...
# Dragonfly's FIELDEXPIRE works on a hash and on a set; only the target can tell which it is here.
FIELDEXPIRE: Final = b"""local k,kind=KEYS[1],redis.call('TYPE',KEYS[1]).ok
local gone,names=ARGV[2]=='1',{}
for i=4,#ARGV do names[#names+1]=ARGV[i] end
if kind=='hash' then
if gone then return redis.call('HDEL',k,unpack(names)) end
if ARGV[1]~='' then return redis.call('HPEXPIREAT',k,ARGV[1],'FIELDS',#names,unpack(names)) end
elseif kind=='set' then
if gone then return redis.call('SREM',k,unpack(names)) end
else return 0 end
if ARGV[3]=='fail' then return redis.error_reply('ERR no TTL for members of this type on the target') end
return 0"""

# PEXPIREAT only where the key still has a TTL (Redis 6.2 lacks the option XX).
PEXPIREAT_XX: Final = (
    b"if redis.call('PTTL',KEYS[1])>=0 then return redis.call('PEXPIREAT',KEYS[1],ARGV[1]) end return 0"
)

# Dragonfly up to 1.16 keeps every HyperLogLog dense; a target would begin a new one sparse, with other bytes for the
# same count.
PFADD_DENSE: Final = (
    b"local e=redis.call('GETRANGE',KEYS[1],4,4)\n"
    b"if e=='\\1' then redis.pcall('PFDEBUG','TODENSE',KEYS[1])\n"
    b"elseif e=='' and redis.call('EXISTS',KEYS[1])==0 then\n"
    b"redis.call('SET',KEYS[1],'HYLL'..string.rep('\\0',11)..'\\128'..string.rep('\\0',12288)) end\n"
    b"local changed=0\n"
    b"for i=1,math.max(#ARGV,1),1000 do\n"
    b"changed=math.max(changed,redis.call('PFADD',KEYS[1],unpack(ARGV,i,math.min(i+999,#ARGV)))) end\n"
    b"return changed"
)

# ARGV: '' | NX | XX, 1 to keep the TTL, the whole value. A Dragonfly replaces a value of another type, and logs also
# what did nothing because its condition did not hold.
JSON_REPLACE: Final = b"""local k=KEYS[1]
local had=redis.call('EXISTS',k)==1
if (ARGV[1]=='NX' and had) or (ARGV[1]=='XX' and not had) then return 0 end
local ttl=redis.call('PTTL',k)
redis.call('DEL',k)
redis.call('JSON.SET',k,'$',ARGV[3])
if ARGV[2]=='1' and ttl>=0 then redis.call('PEXPIRE',k,math.max(ttl,1)) end
return 1"""

# ARGV: the popping command, the pushing command, the value. A list moved onto itself is journalled as a pop and a push
# of the same value, as is a client's pop and push. They differ in one case: where the only element of a list with a TTL
# is popped, the TTL goes, but not when it was moved. Then nothing is done (the value is the same) and the answer is 0.
ROTATE: Final = b"""local k,v=KEYS[1],ARGV[3]
local n=redis.pcall('LLEN',k)
if type(n)=='table' then return n end
if n==1 and redis.call('PTTL',k)>=0 and redis.call('LINDEX',k,0)==v then return 0 end
redis.call(ARGV[1],k)
return redis.call(ARGV[2],k,v)"""

# ARGV: the pushing command, the value. Behind a pop that is done already: 0 where that may have emptied the list.
PUSH_AFTER_POP: Final = b"""local n=redis.pcall(ARGV[1],KEYS[1],ARGV[2])
if n==1 then return 0 end
return n"""

# How commands with these two scripts begin. Their answer 0 says: only the source knows whether the key has its TTL.
MOVED_ONTO_ITSELF: Final = tuple(
    b"*%d\r\n$4\r\nEVAL\r\n$%d\r\n%b\r\n" % (args, len(text), text) for args, text in ((7, ROTATE), (6, PUSH_AFTER_POP))
)
